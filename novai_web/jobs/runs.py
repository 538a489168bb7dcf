"""Runs: what was asked of a vendor for money, from the intent to the bill. Each change is one guarded UPDATE."""

import hashlib
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, false, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.orm import Mapped, mapped_column

from novai_web.db import Base, Id, Json, now, session
from novai_web.jobs.models import Job
from novai_web.vendors import Seen, Vendor

OPEN = ("submitting", "running")
TRIED = ("not_started", "abandoned", "failed")
MARKER = re.compile(r"(?P<stem>novai-(?P<job>\d{1,18})-[0-9a-f]{16})-(?P<n>\d{1,9})-(?P<request>[0-9a-f]{8})", re.ASCII)


class Run(Base):
    """One paid request to a vendor. `marker` finds it there if the answer was lost; `external_id` is its name there."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('submitting', 'running', 'done', 'failed', 'not_started', 'cancelled', 'abandoned')",
            name="state",
        ),
        CheckConstraint("state <> 'running' OR external_id IS NOT NULL", name="running_has_an_id"),
        CheckConstraint("cost_credits >= 0", name="cost_credits"),
        Index("uq_runs_job_n", "job_id", "n", unique=True),
        Index("uq_runs_external", "vendor", "external_id", unique=True),
        Index("one_open_run", "job_id", unique=True, postgresql_where=text("state IN ('submitting', 'running')")),
        Index("ix_runs_abandoned", "vendor", "id", postgresql_where=text("state = 'abandoned'")),
        Index("ix_runs_house", "created_at", postgresql_where=text("booked_to_house")),
    )

    id: Mapped[Id]
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"))
    n: Mapped[int]
    vendor: Mapped[str]
    request: Mapped[str]
    marker: Mapped[str] = mapped_column(unique=True)
    external_id: Mapped[str | None]
    state: Mapped[str] = mapped_column(default="submitting")
    model: Mapped[str] = mapped_column(default="", server_default=text("''"))
    is_sandbox: Mapped[bool] = mapped_column(default=False, server_default=false())
    cost_credits: Mapped[int] = mapped_column(default=0, server_default=text("0"))
    # In millionths of a US dollar: what the vendor said, or else what its price says; empty when nobody knows.
    cost_microusd: Mapped[int | None]
    booked_to_house: Mapped[bool] = mapped_column(default=False, server_default=false())
    note: Mapped[str | None]
    result: Mapped[Json | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    posted_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Standing:
    """How the latest run of one request stands, and what was tried before it."""

    run: Run
    age_seconds: float
    not_started: int
    abandoned: int
    failed: int


@dataclass(frozen=True)
class Asked:
    """What is asked of which vendor, and what that is expected to cost: credits, and millionths of a US dollar."""

    vendor: Vendor
    request: Mapping[str, Any]
    cost_credits: int
    cost_microusd: int | None = None

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.vendor.name, self.request)

    @property
    def model(self) -> str:
        return str(self.request.get("model", ""))


def fingerprint(vendor: str, request: Mapping[str, Any]) -> str:
    """What makes two requests of a job the same one."""
    return hashlib.sha256(json.dumps([vendor, request], sort_keys=True).encode()).hexdigest()


def stem(job: Job) -> str:
    """What the markers of a job's runs begin with. It follows from the job's row, so that a database that was restored
    from a backup finds at the vendor what it has forgotten; and from its time, because ids are used again then."""
    said = f"{job.id}.{job.account_id}.{job.created_at.astimezone(UTC).isoformat()}"
    return f"novai-{job.id}-{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def standing(job_id: int, request: str) -> Standing | None:
    """The latest run of this request of this job."""
    of_it = (Run.job_id == job_id, Run.request == request)
    found = session.execute(
        select(Run, func.extract("epoch", now() - Run.created_at))
        .where(*of_it)
        .order_by(Run.n.desc())
        .limit(1)
        .execution_options(populate_existing=True)
    ).first()
    if found is None:
        return None
    counts = dict(session.execute(select(Run.state, func.count()).where(*of_it).group_by(Run.state)).tuples().all())
    return Standing(found[0], float(found[1]), *(counts.get(state, 0) for state in TRIED))


def begin(job: Job, asked: Asked) -> Run:
    """The intent. It must be committed before anything is sent, or nobody would know what to look for."""
    run = _next(job, asked)
    session.add(run)
    session.flush()
    return run


def adopt(job: Job, seen: Seen, asked: Asked) -> None:
    """A run that the vendor has and the database has forgotten."""
    run = _next(job, asked)
    run.n = max(run.n, _number(seen.marker))
    run.marker, run.external_id, run.state, run.posted_at = seen.marker, seen.external_id, "running", now()
    session.add(run)
    session.flush()


def _next(job: Job, asked: Asked) -> Run:
    last = session.scalar(select(func.max(Run.n)).where(Run.job_id == job.id)) or 0
    return Run(
        job_id=job.id,
        n=last + 1,
        vendor=asked.vendor.name,
        request=asked.fingerprint,
        model=asked.model,
        is_sandbox=asked.vendor.is_sandbox,
        marker=f"{stem(job)}-{last + 1}-{asked.fingerprint[:8]}",
        cost_credits=asked.cost_credits,
        cost_microusd=asked.cost_microusd,
    )


def _number(marker: str) -> int:
    found = MARKER.fullmatch(marker)
    return int(found["n"]) if found else 0


def forgotten(job: Job, vendor: str, request: str, seen: Sequence[Seen]) -> Seen | None:
    """Of what a vendor lists, the latest run of this request of this job that the database does not know."""
    ours = [each for each in seen if _is_of(each.marker, job, request)]
    marked, named = of_markers([each.marker for each in ours]), known(vendor, [each.external_id for each in ours])
    left = [each for each in ours if each.marker not in marked and each.external_id not in named]
    return max(left, key=lambda each: _number(each.marker), default=None)


def _is_of(marker: str, job: Job, request: str) -> bool:
    found = MARKER.fullmatch(marker)
    return found is not None and found["stem"] == stem(job) and found["request"] == request[:8]


def save(run_id: int, external_id: str) -> bool:
    """Write down what the vendor calls a run. It is a fact, so it needs no lease; who knows it first writes it.

    False: another run has this id already. Two would be handed one result, which may be a stranger's.
    """
    given = {"run": run_id, "external": external_id}
    session.execute(
        text("""
            UPDATE runs SET external_id = :external, posted_at = now(),
                   state = CASE WHEN state = 'submitting' THEN 'running'
                                WHEN state IN ('not_started', 'failed', 'cancelled') THEN 'abandoned' ELSE state END
            WHERE id = :run AND external_id IS NULL AND NOT EXISTS (
                SELECT FROM runs AS other WHERE other.vendor = runs.vendor AND other.external_id = :external)"""),
        given,
    )
    elsewhere = text("""
        SELECT FROM runs AS other JOIN runs ON runs.id = :run AND runs.vendor = other.vendor AND runs.id <> other.id
        WHERE other.external_id = :external""")
    return session.execute(elsewhere, given).first() is None


def take(run: Run, result: Json, external_id: str, cost_microusd: int | None) -> None:
    """Write down what a vendor answered whose answer is the result. It is a fact, so it needs no lease.

    What nobody waited for any more is the house's. An id that the vendor has used before is none.
    """
    session.execute(
        text("""
            UPDATE runs SET state = 'done', result = CAST(:result AS jsonb), posted_at = coalesce(posted_at, now()),
                   ended_at = coalesce(ended_at, now()), cost_microusd = coalesce(:cost, cost_microusd),
                   booked_to_house = booked_to_house OR state NOT IN ('submitting', 'running'),
                   external_id = CASE WHEN EXISTS (SELECT 1 FROM runs AS other WHERE other.vendor = runs.vendor
                                      AND other.external_id = :external) THEN external_id ELSE :external END
            WHERE id = :run AND state <> 'done'"""),
        {"run": run.id, "result": json.dumps(result), "cost": cost_microusd, "external": external_id or run.marker},
    )


def close(run_id: int, state: str, *, seen_as: Collection[str] = OPEN, **values: Any) -> bool:
    """End a run that is still seen as one of these states. False: somebody else has moved it on."""
    done = session.execute(
        update(Run)
        .where(Run.id == run_id, Run.state.in_(seen_as))
        .values(state=state, ended_at=func.coalesce(Run.ended_at, now()), **values)
        .execution_options(synchronize_session=False)
    )
    assert isinstance(done, CursorResult)
    return bool(done.rowcount)


def open_ones(job_ids: Collection[int]) -> set[int]:
    """Which of these jobs have a run open at a vendor."""
    return set(session.scalars(select(Run.job_id).where(Run.job_id.in_(job_ids), Run.state.in_(OPEN))))


def open_one(job_id: int) -> Run | None:
    query = select(Run).where(Run.job_id == job_id, Run.state.in_(OPEN))
    return session.scalar(query.execution_options(populate_existing=True))


def is_spent_on(job_id: int) -> bool:
    """Whether something was asked for at a vendor that may be billed, and that nobody has given up."""
    mine = (Run.job_id == job_id, Run.state.in_((*OPEN, "done")))
    return session.scalar(select(Run.id).where(*mine).limit(1)) is not None


def has_done(job_id: int) -> bool:
    """Whether a vendor bills us for this job."""
    return session.scalar(select(Run.id).where(Run.job_id == job_id, Run.state == "done").limit(1)) is not None


def end_all(job_id: int, *, is_paid_for: bool) -> None:
    """In the transaction that ends the job: what is still open is given up, and cancelled by housekeeping; what was
    done for a job that delivered nothing is the house's cost."""
    ended = (
        update(Run)
        .where(Run.job_id == job_id, Run.state.in_(OPEN))
        .values(state="abandoned", ended_at=now(), note=func.coalesce(Run.note, "Its job ended before it did."))
    )
    session.execute(ended.execution_options(synchronize_session=False))
    if not is_paid_for:
        booked = update(Run).where(Run.job_id == job_id, Run.state == "done").values(booked_to_house=True)
        session.execute(booked.execution_options(synchronize_session=False))


def of_markers(markers: Collection[str]) -> dict[str, Run]:
    found = session.scalars(select(Run).where(Run.marker.in_(markers)).execution_options(populate_existing=True))
    return {run.marker: run for run in found}


def known(vendor: str, external_ids: Collection[str]) -> set[str]:
    query = select(Run.external_id).where(Run.vendor == vendor, Run.external_id.in_(external_ids))
    return {external_id for external_id in session.scalars(query) if external_id}


def abandoned(vendor: Vendor, limit: int) -> Sequence[tuple[Run, float]]:
    """Runs that were given up and not yet seen to be over, with the seconds since then. The sandbox knows nothing of
    those at the vendor whose place it takes, nor the other way round."""
    since = func.extract("epoch", now() - func.coalesce(Run.ended_at, Run.created_at))
    there = (Run.vendor == vendor.name, Run.is_sandbox == vendor.is_sandbox)
    query = select(Run, since).where(*there, Run.state == "abandoned")
    found = session.execute(query.order_by(func.random()).limit(limit).execution_options(populate_existing=True))
    return [(run, float(seconds)) for run, seconds in found]


def book_unreachable(vendors: Collection[str], after_seconds: float) -> None:
    """What was given up at a vendor that has no key here any more, so that nobody can ask: the house's cost, until the
    key is back. `vendors` are the names of those that do have one."""
    since = now() - func.make_interval(0, 0, 0, 0, 0, 0, after_seconds)
    gone = (Run.state == "abandoned", ~Run.is_sandbox, ~Run.booked_to_house, Run.vendor.not_in(vendors))
    booked = update(Run).where(*gone, Run.ended_at < since).values(booked_to_house=True)
    session.execute(booked.execution_options(synchronize_session=False))


def stray(job: Job, vendor: Vendor, seen: Seen) -> None:
    """A run at the vendor that carries our marker and belongs to no run of ours: it gets a row, to be cancelled."""
    last = session.scalar(select(func.max(Run.n)).where(Run.job_id == job.id)) or 0
    values = {
        "job_id": job.id,
        "n": last + 1,
        "vendor": vendor.name,
        "is_sandbox": vendor.is_sandbox,
        "request": "",
        "marker": f"{seen.marker}+{seen.external_id}",
        "external_id": seen.external_id,
        "state": "abandoned",
        "ended_at": now(),
        "note": "The vendor had this run under our name, and no job of ours knew of it.",
    }
    session.execute(insert(Run).values(values).on_conflict_do_nothing())
