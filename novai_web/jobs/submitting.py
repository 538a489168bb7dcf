"""Submitting: one form becomes jobs, their holds and their bells, or nothing at all."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from novai_web import credits, failpoints, queue, tools
from novai_web.accounts import Account
from novai_web.config import MEGABYTE, Settings
from novai_web.db import after_commit, session
from novai_web.errors import (
    DiskFull,
    IdempotencyMismatch,
    InvalidInput,
    Overloaded,
    PriceChanged,
    TooManyJobs,
)
from novai_web.jobs import bills
from novai_web.jobs.models import Batch, Job, Output, Submission
from novai_web.library.assets import Library
from novai_web.tools.tool import Input, Part, Promise, Reading, Tool

KEY_CHARACTERS_MAX = 200
ADVISORY_FAMILY = 21

# What NOVAI gives itself to do is work for everybody's workers, but nobody's own.
UNDER_WAY = text("""
    SELECT (SELECT count(*) FROM jobs WHERE account_id = :account AND state IN ('queued', 'waiting', 'running')
            AND tool_slug <> ALL (CAST(:internal AS text[]))) AS own,
           (SELECT count(*) FROM (SELECT FROM jobs WHERE state IN ('queued', 'waiting', 'running') LIMIT :most)
            AS open) AS everybodys""")


@dataclass(frozen=True)
class Submitted:
    batch: Batch | None
    jobs: Sequence[Job]


@dataclass(frozen=True)
class Quote:
    """What a submit would do, without doing it."""

    credits: int
    outputs: int
    jobs: int
    seconds: float
    bytes: int


def reading(account: Account, settings: Settings) -> Reading:
    return Reading(Library(account.id), settings)


def quote(account: Account, tool: Tool, raw: Mapping[str, Any], settings: Settings) -> Quote:
    """The price and size of an input, with no side effects. Raises InvalidInput."""
    given = tool.input.read(raw, reading(account, settings))
    estimate = tool.estimate(given, settings)
    return Quote(
        credits=tool.price(given, settings),
        outputs=estimate.outputs,
        jobs=len(_parts(tool, given, settings)),
        seconds=estimate.seconds,
        bytes=estimate.bytes,
    )


def submit(
    account: Account,
    tool: Tool,
    raw: Mapping[str, Any],
    settings: Settings,
    *,
    key: str | None = None,
    credits_max: int | None = None,
) -> Submitted:
    """Jobs, holds and ledger entries in the caller's transaction; the bells ring once it is committed.

    The same `key` with the same input answers with what the first submit made. `credits_max` is the price that was
    shown. Raises InvalidInput, DiskFull, IdempotencyMismatch, TooManyJobs, Overloaded, PriceChanged, NotEnoughCredits,
    DailyLimitReached: then there is no job, no hold and no bell.
    """
    if key:
        earlier = _earlier(account, key, _fingerprint(tool, raw))
        if earlier:
            return earlier
    given = tool.input.read(raw, reading(account, settings))
    check_room(settings, tool.estimate(given, settings).bytes)
    parts = _parts(tool, given, settings)
    check_queue(account, settings, more=len(parts))
    prices = _shares(tool.price(given, settings), parts)
    _check_price(sum(prices), credits_max)
    batch = _batch(account, tool, given, parts) if tool.split else None
    jobs = [_job(account, tool, part, batch, price) for part, price in zip(parts, prices, strict=True)]
    session.add_all(jobs)
    session.flush()
    _promise(jobs, parts, batch)
    credits.reserve(account, {job.id: job.price for job in jobs}, settings, lost(account, jobs))
    if key:
        _remember(account, key, batch, jobs)
    ring(jobs)
    return Submitted(batch, jobs)


def _check_price(price: int, credits_max: int | None) -> None:
    """The price is known before: one that rose since it was shown is not taken without a word."""
    if credits_max is not None and price > credits_max:
        raise PriceChanged(
            f"This costs {price:,} credits now, and {credits_max:,} were shown. "
            "Nothing was started and nothing was charged; start it again if that is right."
        )


def submit_internal(account_id: int, tool: Tool, raw: Mapping[str, Any]) -> Job:
    """A job that NOVAI gives itself: no price, no promise, no card."""
    job = Job(
        account_id=account_id,
        tool_slug=tool.slug,
        title=tool.title,
        queue=tool.queue,
        input=dict(raw),
        price=0,
        promised=0,
        notes={},
        deadline_seconds=tool.deadline_seconds,
    )
    session.add(job)
    session.flush()
    ring([job])
    return job


def ring(jobs: Sequence[Job]) -> None:
    """Ring for each of these once the caller's transaction is committed."""
    bells = [(job.id, job.queue) for job in jobs]
    after_commit(lambda: _ring_all(bells))
    failpoints.hit("create.before_commit")


def _ring_all(bells: Sequence[tuple[int, str]]) -> None:
    """The first bell that does not ring is the last one tried: nobody waits for a broker that is away."""
    failpoints.hit("create.after_commit")
    all(queue.ring(job_id, queue=name) for job_id, name in bells)
    failpoints.hit("create.after_bell")


def lost(account: Account, jobs: Sequence[Job]) -> credits.Lost:
    """What counts as spent today besides what was charged, if these jobs spend anything at vendors."""
    return bills.lost_today(account.id) if any(job.price and job.tool.engine for job in jobs) else credits.Lost()


def check_queue(account: Account, settings: Settings, *, more: int = 0) -> None:
    """Refuse early what would only wait: raises TooManyJobs or Overloaded if `more` jobs are too many.

    Submits of one account are counted one after the other, so that its limit is exact. All accounts together may
    pass theirs by what is submitted in the same moment: nobody waits for a stranger.
    """
    lock = {"family": ADVISORY_FAMILY, "account": account.id % 2**31}
    session.execute(text("SELECT pg_advisory_xact_lock(:family, :account)"), lock)
    limit, everybodys_limit = settings.queued_jobs_per_account_max, settings.queued_jobs_max
    given = {"account": account.id, "internal": [tool.slug for tool in tools.INTERNAL], "most": everybodys_limit + 1}
    found = session.execute(UNDER_WAY, given).one()
    if found.own + more > limit:
        raise TooManyJobs(
            f"At most {limit:,} jobs of yours may wait or run at once, and this would make it {found.own + more:,}. "
            "Nothing was started and nothing was charged; try again when some of them are over."
        )
    if found.everybodys + more > everybodys_limit:
        raise Overloaded


def check_room(settings: Settings, more_bytes: int = 0) -> None:
    """Raise DiskFull before anything starts that this machine's disk has no room for."""
    settings.data.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.data).free
    if free < settings.disk_free_bytes_min:
        raise DiskFull("The disk is nearly full, so nothing new is started. Free some space or ask the administrator.")
    if free - more_bytes < settings.disk_free_bytes_min:
        raise DiskFull(
            f"There is no room on the disk for the {more_bytes / MEGABYTE:,.0f} MB that this would make. "
            "Nothing was started; free some space or ask the administrator."
        )


def _parts(tool: Tool, given: Input, settings: Settings) -> Sequence[Part]:
    if tool.split:
        return tool.split(given, settings)
    return [Part(given, [Promise(n=0, name=tool.name(given) or tool.title)])]


def _batch(account: Account, tool: Tool, given: Input, parts: Sequence[Part]) -> Batch:
    batch = Batch(
        account_id=account.id,
        tool_slug=tool.slug,
        title=tool.name(given) or tool.title,
        input=given.model_dump(mode="json"),
        promised=sum(len(part.promises) for part in parts),
    )
    session.add(batch)
    session.flush()
    return batch


def _shares(price: int, parts: Sequence[Part]) -> list[int]:
    """What each part holds: as it says itself, or by what it promises of the price, and then together exactly that."""
    own = [part.credits for part in parts if part.credits is not None]
    if parts and len(own) == len(parts):
        return own
    total = sum(len(part.promises) for part in parts)
    shares, promised, given = [], 0, 0
    for part in parts:
        promised += len(part.promises)
        shares.append(price * promised // total - given)
        given += shares[-1]
    return shares


def _job(account: Account, tool: Tool, part: Part, batch: Batch | None, price: int) -> Job:
    return Job(
        account_id=account.id,
        batch_id=batch.id if batch else None,
        tool_slug=tool.slug,
        title=tool.name(part.given) or tool.title,
        queue=tool.queue,
        input=part.given.model_dump(mode="json"),
        price=price,
        promised=len(part.promises),
        notes={},
        deadline_seconds=tool.deadline_seconds,
    )


def _promise(jobs: Sequence[Job], parts: Sequence[Part], batch: Batch | None) -> None:
    rows = [
        {
            "job_id": job.id,
            "batch_id": batch.id if batch else None,
            "n": promise.n,
            "name": promise.name,
            "spec": promise.spec,
            "state": "pending",
        }
        for job, part in zip(jobs, parts, strict=True)
        for promise in part.promises
    ]
    if rows:
        session.execute(insert(Output), rows)


def _fingerprint(tool: Tool, raw: Mapping[str, Any]) -> str:
    said = json.dumps([tool.slug, raw], sort_keys=True, default=str)
    return hashlib.sha256(said.encode()).hexdigest()


def _earlier(account: Account, key: str, fingerprint: str) -> Submitted | None:
    """Claim the key, or what it made before. A second submit with it waits here until the first is decided."""
    if len(key) > KEY_CHARACTERS_MAX or not key.isprintable():
        raise InvalidInput({"Idempotency-Key": f"Use at most {KEY_CHARACTERS_MAX} printable characters."})
    claimed = session.scalar(
        upsert(Submission)
        .values(account_id=account.id, key=key, fingerprint=fingerprint)
        .on_conflict_do_nothing()
        .returning(Submission.key)
    )
    if claimed:
        return None
    known = session.scalars(select(Submission).where(Submission.account_id == account.id, Submission.key == key)).one()
    if known.fingerprint != fingerprint:
        raise IdempotencyMismatch
    return _made_by(known)


def _made_by(known: Submission) -> Submitted:
    """What that submit made, and not what was tried again since."""
    if known.batch_id is None:
        return Submitted(None, session.scalars(select(Job).where(Job.id == known.job_id)).all())
    batch = session.get_one(Batch, known.batch_id)
    made = select(Job).where(Job.batch_id == batch.id, Job.retry_of_id.is_(None)).order_by(Job.id)
    return Submitted(batch, session.scalars(made).all())


def _remember(account: Account, key: str, batch: Batch | None, jobs: Sequence[Job]) -> None:
    known = session.get_one(Submission, (account.id, key))
    known.batch_id = batch.id if batch else None
    known.job_id = jobs[0].id if not batch else None
    session.flush()
