"""What a person may still do to a job: cancel it, try it again, move it to the front."""

from collections.abc import Sequence

from sqlalchemy import Select, func, select, update

from novai_web import credits
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.errors import Conflict
from novai_web.jobs import runs
from novai_web.jobs.ending import Ending, end
from novai_web.jobs.models import OPEN, OVER, Batch, Job, Output, State
from novai_web.jobs.submitting import check_queue, check_room, lost, ring


def cancel(job: Job) -> None:
    """A job that nobody works on ends at once; a running one at its next word about progress; one that a vendor works
    on when the vendor has been told, which a worker does."""
    _cancel(select(Job).where(Job.id == job.id))


def cancel_batch(batch: Batch) -> None:
    """Cancel whatever of it is not over."""
    _cancel(select(Job).where(Job.batch_id == batch.id, Job.state.in_(OPEN)))


def _cancel(which: Select[tuple[Job]]) -> None:
    """All jobs are locked before any of them ends, because an end goes on to lock money: jobs first, then money."""
    locked = which.order_by(Job.id).with_for_update().execution_options(populate_existing=True)
    found = session.scalars(locked).all()
    at = session.scalars(select(now())).one()
    at_vendors = runs.open_ones([job.id for job in found])
    for job in found:
        if job.is_over:
            continue
        job.cancel_requested_at = job.cancel_requested_at or at
        if job.state == State.RUNNING and job.lease_until and job.lease_until > at:
            continue
        if job.id in at_vendors:
            job.run_at = at
            continue
        session.flush()
        end(job.id, Ending(State.CANCELLED))
    session.flush()
    if told := [job for job in found if job.id in at_vendors and not job.is_over]:
        ring(told)


def retry(account: Account, job: Job, settings: Settings) -> Job:
    """One new job for what `job` did not deliver; asked twice, the same one. Raises Conflict if nothing is missing.

    The new job holds its own credits: what was delivered before is not paid again.
    """
    return _retry(account, [job], settings)[0]


def retry_batch(account: Account, batch: Batch, settings: Settings) -> Sequence[Job]:
    """Try again whatever of this batch failed or was cancelled. Raises Conflict if nothing was."""
    missing = session.scalars(
        select(Job)
        .where(Job.batch_id == batch.id, Job.state.in_(OVER), Job.delivered < Job.promised, ~Job.is_retried)
        .order_by(Job.id)
    ).all()
    if not missing:
        raise Conflict("There is nothing left to try again in this batch.")
    return _retry(account, missing, settings)


def _retry(account: Account, over: Sequence[Job], settings: Settings) -> list[Job]:
    """All jobs are made before credits are held for any of them: jobs first, then money."""
    found = [_again(job) for job in over]
    fresh = [job for job, is_new in found if is_new]
    if fresh:
        check_room(settings)
        check_queue(account, settings)
    credits.reserve(account, {job.id: job.price for job in fresh}, settings, lost(account, fresh))
    ring(fresh)
    return [job for job, _ in found]


def _again(job: Job) -> tuple[Job, bool]:
    """The job that tries `job` again, and whether it was made just now. Whoever marks the old one makes the new one."""
    if not (job.is_over and job.missing):
        raise Conflict("There is nothing left to try again here.")
    marked = session.scalar(
        update(Job)
        .where(Job.id == job.id, ~Job.is_retried)
        .values(is_retried=True)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if marked is None:
        return session.scalars(select(Job).where(Job.retry_of_id == job.id)).one(), False
    session.refresh(job)
    fresh = Job(
        account_id=job.account_id,
        batch_id=job.batch_id,
        retry_of_id=job.id,
        tool_slug=job.tool_slug,
        title=job.title,
        queue=job.queue,
        input=job.input,
        price=job.retry_credits,
        promised=job.missing,
        notes={},
        deadline_seconds=job.deadline_seconds,
    )
    session.add(fresh)
    session.flush()
    session.execute(
        update(Output)
        .where(Output.job_id == job.id, Output.state.in_(("failed", "cancelled")))
        .values(job_id=fresh.id, state="pending", error=None)
        .execution_options(synchronize_session=False)
    )
    return fresh, True


def move_to_front(job: Job) -> None:
    """Before all other waiting jobs of the same account; users still take turns."""
    first = select(func.coalesce(func.max(Job.priority), 0) + 1).where(
        Job.account_id == job.account_id, Job.state.in_(OPEN)
    )
    session.execute(update(Job).where(Job.id == job.id, Job.state.in_(OPEN)).values(priority=first.scalar_subquery()))
    session.refresh(job)
