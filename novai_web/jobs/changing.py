"""What a person may still do to a job: cancel it, try it again, move it to the front."""

from collections.abc import Sequence

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from novai_web import credits
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import now, session
from novai_web.errors import Conflict
from novai_web.jobs.ending import Ending, end
from novai_web.jobs.models import OPEN, Batch, Job, Output, State
from novai_web.jobs.submitting import ring


def cancel(job: Job) -> None:
    """A job that nobody works on ends at once; a running one at its next word about progress."""
    locked = session.scalars(
        select(Job).where(Job.id == job.id).with_for_update().execution_options(populate_existing=True)
    ).one()
    if locked.is_over:
        return
    if locked.state == State.RUNNING:
        locked.cancel_requested_at = locked.cancel_requested_at or session.scalar(select(now()))
        session.flush()
    else:
        end(locked, Ending(State.CANCELLED))


def cancel_batch(batch: Batch) -> None:
    for job in session.scalars(select(Job).where(Job.batch_id == batch.id, Job.state.in_(OPEN)).order_by(Job.id)).all():
        cancel(job)


def retry(account: Account, job: Job, settings: Settings) -> Job:
    """One new job for what `job` did not deliver; asked twice, the same one. Raises Conflict if nothing is missing.

    The new job holds its own credits: what was delivered before is not paid again.
    """
    if not job.can_retry:
        raise Conflict("There is nothing left to try again here.")
    price = job.price * job.missing // job.promised
    new_id = session.scalar(
        insert(Job)
        .values(
            account_id=job.account_id,
            batch_id=job.batch_id,
            retry_of_id=job.id,
            tool_slug=job.tool_slug,
            title=job.title,
            queue=job.queue,
            input=job.input,
            price=price,
            promised=job.missing,
            state=State.QUEUED,
            notes={},
            deadline_seconds=job.deadline_seconds,
        )
        .on_conflict_do_nothing(index_elements=["retry_of_id"])
        .returning(Job.id)
    )
    if new_id is None:
        return session.scalars(select(Job).where(Job.retry_of_id == job.id)).one()
    session.execute(
        update(Output)
        .where(Output.job_id == job.id, Output.state == "failed")
        .values(job_id=new_id, state="pending", error=None)
        .execution_options(synchronize_session=False)
    )
    fresh = session.get_one(Job, new_id)
    credits.reserve(account, fresh.id, fresh.price, settings)
    ring([fresh])
    return fresh


def retry_batch(account: Account, batch: Batch, settings: Settings) -> Sequence[Job]:
    """Try again whatever of this batch failed. Raises Conflict if nothing did."""
    missing = session.scalars(
        select(Job)
        .where(Job.batch_id == batch.id, Job.state.not_in(OPEN), Job.delivered < Job.promised)
        .where(select(Output.id).where(Output.job_id == Job.id, Output.state == "failed").exists())
        .order_by(Job.id)
    ).all()
    if not missing:
        raise Conflict("Nothing in this batch failed.")
    return [retry(account, job, settings) for job in missing]


def move_to_front(job: Job) -> None:
    """Before all other waiting jobs of the same account; users still take turns."""
    first = select(func.coalesce(func.max(Job.priority), 0) + 1).where(
        Job.account_id == job.account_id, Job.state.in_(OPEN)
    )
    session.execute(update(Job).where(Job.id == job.id, Job.state.in_(OPEN)).values(priority=first.scalar_subquery()))
    session.refresh(job)
