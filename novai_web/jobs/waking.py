"""Waking: a vendor rang, so the job that waits for its run looks now. Who rings decides nothing."""

from sqlalchemy import or_, select, update

from novai_web.db import now, session
from novai_web.jobs import runs
from novai_web.jobs.models import Job, State
from novai_web.jobs.runs import Run
from novai_web.jobs.submitting import ring


def wake(vendor: str, *, marker: str, external_id: str) -> bool:
    """In the caller's transaction. False: no run of ours is meant, or none that anybody still waits for.

    Names the run by its marker, by the vendor's id for it, or both; a run whose id was lost is given it.
    """
    named = [Run.marker == marker] if marker else []
    named += [Run.external_id == external_id] if external_id else []
    query = select(Run).where(Run.vendor == vendor, or_(*named)) if named else None
    found = session.scalars(query.execution_options(populate_existing=True)).all() if query is not None else ()
    by_id = [run for run in found if external_id and run.external_id == external_id]
    run = next(iter([*by_id, *found]), None)
    if run is None:
        return False
    woken = session.scalars(
        update(Job)
        .where(Job.id == run.job_id, Job.state == State.WAITING)
        .values(run_at=now())
        .returning(Job)
        .execution_options(synchronize_session=False)
    ).all()
    if external_id and not by_id and run.external_id is None:
        runs.save(run.id, external_id)
    ring(woken)
    return bool(woken)
