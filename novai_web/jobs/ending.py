"""Endings: succeeded, failed or cancelled, written once, with the money in the same breath."""

from dataclasses import dataclass

from sqlalchemy import func, select, update

from novai_web import credits, failpoints
from novai_web.db import now, session
from novai_web.errors import StaleLease
from novai_web.jobs import runs
from novai_web.jobs.leases import Lease
from novai_web.jobs.models import Job, Output, State


@dataclass(frozen=True)
class Ending:
    """How a run of a job ended, as the worker saw it."""

    state: State
    error: str | None = None
    code: str | None = None


def end(job_id: int, ending: Ending, lease: Lease | None = None) -> None:
    """The only way a job ends, in the caller's transaction. Ending what is over does nothing.

    With a lease, the end must still be that worker's to write: raises StaleLease otherwise.
    """
    locked = session.scalar(
        select(Job).where(Job.id == job_id).with_for_update().execution_options(populate_existing=True)
    )
    if locked is None or locked.is_over:
        return
    if lease and (locked.lease_token != lease.token or locked.state != State.RUNNING):
        raise StaleLease
    asked_to_stop = ending.state == State.CANCELLED
    ending = _weigh(locked, ending)
    locked.state, locked.error, locked.error_code = ending.state, ending.error, ending.code
    locked.ended_at = locked.heard_at = session.scalar(select(now()))
    locked.lease_until = None
    if ending.state == State.SUCCEEDED:
        locked.progress = 1.0
    session.flush()
    _close_outputs(locked, "cancelled" if asked_to_stop else "failed", ending.error)
    runs.end_all(locked.id, is_paid_for=locked.delivered > 0 or not locked.promised)
    owed = _owed(locked) if ending.state == State.SUCCEEDED else 0
    locked.charged = credits.settle(locked.id, owed)
    if ending.state != State.SUCCEEDED and locked.tool.gave_up:
        locked.tool.gave_up(locked.input, ending.error or "It was cancelled.")
    session.flush()
    failpoints.hit("settle.before_commit")


def _weigh(job: Job, ending: Ending) -> Ending:
    """What was delivered decides: a job that delivered nothing has not succeeded, one that delivered everything
    has, and one that delivered some of what has a price succeeded in that much."""
    if job.promised and not job.missing:
        return Ending(State.SUCCEEDED)
    if ending.state == State.SUCCEEDED and job.promised and not job.delivered:
        return Ending(State.FAILED, _first_reason(job) or ending.error, "nothing_delivered")
    if ending.state == State.SUCCEEDED and job.missing:
        return Ending(State.SUCCEEDED, f"{job.missing} of {job.promised} could not be made.", "partly_delivered")
    if ending.state == State.FAILED and job.delivered:
        return Ending(State.SUCCEEDED, ending.error, "partly_delivered")
    if ending.state == State.CANCELLED and job.delivered and job.price:
        return Ending(State.SUCCEEDED, f"Stopped after {job.delivered} of {job.promised}.", "partly_delivered")
    return ending


def _first_reason(job: Job) -> str | None:
    return session.scalar(
        select(Output.error).where(Output.job_id == job.id, Output.state == "failed").order_by(Output.n).limit(1)
    )


def _close_outputs(job: Job, state: str, reason: str | None) -> None:
    """What is still pending will not come from this job."""
    session.execute(
        update(Output)
        .where(Output.job_id == job.id, Output.state == "pending")
        .values(state=state, error=func.coalesce(Output.error, reason))
        .execution_options(synchronize_session=False)
    )


def _owed(job: Job) -> int:
    """The price of what was delivered; rounded down, which is to the person's favour."""
    return job.price * job.delivered // job.promised if job.promised else job.price
