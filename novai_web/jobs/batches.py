"""A batch as a person sees it: how far it is, what it delivered, how long that will live."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, case, func, select, update

from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.jobs.models import OPEN, OVER, Batch, Job, Output, State, remaining_seconds
from novai_web.jobs.submitting import Submitted, submit
from novai_web.library.models import Asset

LISTED = 30
DOWNLOAD_HOURS = 1


@dataclass(frozen=True)
class Summary:
    """How a batch stands, in numbers of outputs."""

    batch: Batch
    done: int
    failed: int
    cancelled: int
    expired: int
    pending: int
    files: int  # of what was delivered, what is still there and not in the trash
    open_jobs: int
    running_jobs: int
    cancelling_jobs: int
    retrying_jobs: int
    started: float
    held: int
    charged: int
    price: int  # of all of it, as it was submitted
    retry_credits: int  # what it costs to try again what is missing
    started_at: datetime | None
    expires_at: datetime | None
    is_sandbox: bool  # it stood in for a vendor in at least one of the jobs

    @property
    def total(self) -> int:
        return self.batch.promised

    @property
    def is_over(self) -> bool:
        return self.open_jobs == 0

    @property
    def status(self) -> str:
        if self.open_jobs:
            if self.cancelling_jobs == self.open_jobs:
                return "cancelling"
            return State.RUNNING if self.running_jobs or self.done else State.QUEUED
        if self.is_expired:
            return "expired"
        if self.done:
            return "partly" if self.missing else State.SUCCEEDED
        return State.FAILED if self.failed else State.CANCELLED

    @property
    def progress(self) -> float:
        """The share of outputs that are settled, with what running jobs have done of theirs: 0 to 1."""
        if self.is_over:
            return 1.0
        return min(self.started / self.total, 0.999) if self.total else 0.0

    @property
    def percent(self) -> int:
        return int(self.progress * 100)

    @property
    def missing(self) -> int:
        """What was promised and did not come, for whatever reason."""
        return self.failed + self.cancelled

    @property
    def can_retry(self) -> bool:
        return self.missing > 0

    @property
    def can_cancel(self) -> bool:
        return not self.is_over and self.status != "cancelling"

    @property
    def can_keep(self) -> bool:
        return self.has_files and self.expires_at is not None

    @property
    def is_kept(self) -> bool:
        """Everything that is there stays for good."""
        return self.batch.kept_at is not None and self.expires_at is None

    @property
    def thrown_away(self) -> int:
        return self.done - self.files

    @property
    def is_expired(self) -> bool:
        return self.is_over and self.done == 0 and self.expired > 0

    @property
    def can_rebuild(self) -> bool:
        return self.is_over

    @property
    def has_files(self) -> bool:
        return self.files > 0

    @property
    def remaining_seconds(self) -> float | None:
        """About how long it still takes, if it goes on as it did. What is tried again tells nothing about that."""
        if self.is_over or self.retrying_jobs:
            return None
        return remaining_seconds(self.started_at, self.progress)


def summaries(batches: Sequence[Batch]) -> list[Summary]:
    """The numbers of many batches, in two queries."""
    ids = [batch.id for batch in batches]
    outputs = {row.batch_id: row for row in session.execute(_counted_outputs(ids))}
    jobs = {row.batch_id: row for row in session.execute(_counted_jobs(ids))}
    found = []
    for batch in batches:
        out, job = outputs.get(batch.id), jobs[batch.id]
        found.append(
            Summary(
                batch=batch,
                done=out.done if out else 0,
                failed=out.failed if out else 0,
                cancelled=out.cancelled if out else 0,
                expired=out.expired if out else 0,
                pending=out.pending if out else 0,
                files=out.files if out else 0,
                open_jobs=job.open,
                running_jobs=job.running,
                cancelling_jobs=job.cancelling,
                retrying_jobs=job.retrying,
                started=float(job.started or 0),
                held=job.held or 0,
                charged=job.charged or 0,
                price=int(job.price or 0),
                retry_credits=int(job.retry_credits or 0),
                started_at=job.started_at,
                expires_at=out.expires_at if out else None,
                is_sandbox=job.is_sandbox,
            )
        )
    return found


def summary(batch: Batch) -> Summary:
    return summaries([batch])[0]


def _counted_outputs(ids: Sequence[int]) -> Select[Any]:
    def counted(state: str) -> ColumnElement[int]:
        return func.count().filter(Output.state == state).label(state)

    is_there = Asset.trashed_at.is_(None) & Asset.deleting_at.is_(None) & Asset.id.is_not(None)
    return (
        select(
            Output.batch_id,
            *(counted(state) for state in ("done", "failed", "cancelled", "expired", "pending")),
            func.count().filter((Output.state == "done") & is_there).label("files"),
            func.min(Asset.expires_at).filter(is_there).label("expires_at"),
        )
        .outerjoin(Asset, Asset.id == Output.asset_id)
        .where(Output.batch_id.in_(ids))
        .group_by(Output.batch_id)
    )


def _counted_jobs(ids: Sequence[int]) -> Select[Any]:
    """What a job did not deliver is counted with the job that tries it again."""
    is_open = Job.state.in_(OPEN)
    can_retry = Job.state.in_(OVER) & ~Job.is_retried & (Job.delivered < Job.promised)
    retry_credits = Job.price * (Job.promised - Job.delivered) // func.nullif(Job.promised, 0)
    share = case((is_open, Job.progress * Job.promised), (Job.is_retried, Job.delivered), else_=Job.promised)
    return (
        select(
            Job.batch_id,
            func.count().filter(is_open).label("open"),
            func.count().filter(Job.state == State.RUNNING).label("running"),
            func.count().filter(is_open & Job.cancel_requested_at.is_not(None)).label("cancelling"),
            func.count().filter(is_open & Job.retry_of_id.is_not(None)).label("retrying"),
            func.sum(share).label("started"),
            func.sum(case((is_open, Job.price), else_=0)).label("held"),
            func.sum(Job.charged).label("charged"),
            func.sum(Job.price).filter(Job.retry_of_id.is_(None)).label("price"),
            func.sum(retry_credits).filter(can_retry).label("retry_credits"),
            func.min(Job.started_at).label("started_at"),
            func.bool_or(Job.is_sandbox).label("is_sandbox"),
        )
        .where(Job.batch_id.in_(ids))
        .group_by(Job.batch_id)
    )


def recent(account_id: int, *, before: int | None = None, limit: int = LISTED) -> list[Summary]:
    """Batches, newest first; those before the id `before` for the next page."""
    query = select(Batch).where(Batch.account_id == account_id).order_by(Batch.id.desc()).limit(limit)
    return summaries(session.scalars(query.where(Batch.id < before) if before else query).all())


def of_ids(account_id: int, batch_ids: Sequence[int]) -> list[Summary]:
    """Those of `batch_ids` that are this account's, newest first."""
    mine = select(Batch).where(Batch.account_id == account_id, Batch.id.in_(batch_ids[:LISTED]))
    return summaries(session.scalars(mine.order_by(Batch.id.desc())).all())


def keep(batch: Batch, numbers: Sequence[int] | None = None) -> int:
    """Move what this batch delivered, or the outputs of these numbers, into the library for good.

    Returns how many that were; keeping what is kept counts nothing. What was thrown away stays so.
    """
    mine = assets(batch, numbers).with_only_columns(Asset.id)
    kept = session.execute(
        update(Asset)
        .where(Asset.id.in_(mine), Asset.expires_at.is_not(None), Asset.trashed_at.is_(None))
        .values(expires_at=None)
        .returning(Asset.id)
        .execution_options(synchronize_session=False)
    ).all()
    if kept:
        batch.kept_at = session.scalar(select(now()))
        session.flush()
    return len(kept)


def assets(batch: Batch, numbers: Sequence[int] | None = None) -> Select[tuple[Asset]]:
    """The query of what this batch delivered and is not being deleted, or of the outputs of these numbers."""
    mine = select(Output.asset_id).where(Output.batch_id == batch.id, Output.asset_id.is_not(None))
    if numbers is not None:
        mine = mine.where(Output.n.in_(numbers))
    return select(Asset).where(Asset.account_id == batch.account_id, Asset.id.in_(mine), Asset.deleting_at.is_(None))


def stay_for_download(batch: Batch) -> None:
    """Let nothing that is in the ZIP expire while somebody downloads it."""
    soon = now() + timedelta(hours=DOWNLOAD_HOURS)
    mine = select(Output.asset_id).where(Output.batch_id == batch.id, Output.asset_id.is_not(None))
    session.execute(
        update(Asset)
        .where(Asset.id.in_(mine), Asset.expires_at.between(now(), soon), Asset.deleting_at.is_(None))
        .values(expires_at=soon)
        .execution_options(synchronize_session=False)
    )


def rebuild(
    account: Account, batch: Batch, settings: Settings, *, key: str | None = None, credits_max: int | None = None
) -> Submitted:
    """The same input once more, as a new batch with its own hold. Raises what `submit` raises."""
    own_key = f"rebuild:{batch.id}:{key}" if key else None  # must not find what a plain submit with that key made
    made = submit(account, batch.tool, batch.input, settings, key=own_key, credits_max=credits_max)
    assert made.batch is not None, "only tools that split make batches"
    made.batch.rebuilt_from_id = batch.id
    session.flush()
    return made
