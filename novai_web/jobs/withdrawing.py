"""Withdrawing from a vendor: a job that is to end while a run of it is open ends when the vendor has been told."""

import random
from dataclasses import replace

import structlog
from sqlalchemy import func, select

from novai_web import failpoints
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.jobs import runs
from novai_web.jobs.ending import Ending
from novai_web.jobs.leases import Lease
from novai_web.jobs.models import Job, State
from novai_web.jobs.runs import Run
from novai_web.jobs.waiting import Rest
from novai_web.vendors import Away, Vendor, menu

log = structlog.get_logger()

PATIENCE_SECONDS = 60.0
NOT_CONFIRMED = (
    "The vendor did not confirm that it stopped, and may still bill this installation. You were not charged."
)
TOO_LATE = "The vendor had finished before it could be stopped, and bills this installation. You were not charged."


def withdraw(job: Job, lease: Lease, settings: Settings, ending: Ending) -> Ending | Rest:
    """The ending, once the vendor has stopped what it does for this job, or has not for a minute; until then a rest."""
    with transaction():
        run = runs.open_one(job.id)
        asked = func.least(Job.cancel_requested_at, Job.deadline_at)
        since = session.scalar(select(func.extract("epoch", now() - asked)).where(Job.id == job.id))
        is_billed = run is None and not job.delivered and runs.has_done(job.id)
    if run is None:
        return _saying(ending, TOO_LATE if is_billed else None)
    vendor = menu.serving(run.vendor, settings, is_sandbox=run.is_sandbox)
    failpoints.hit("cancel.before_vendor")
    try:
        if vendor is None:
            raise Away
        note = _stop(run, vendor, lease, settings)
    except Away as problem:
        log.warning("vendor_not_told", run_id=run.id, problem=type(problem).__name__)
        note = None if run.is_sandbox and vendor is None else NOT_CONFIRMED  # nobody is billed for a trial
        if vendor is not None and float(since or 0) < PATIENCE_SECONDS:
            return Rest(State.WAITING, random.uniform(1.0, 8.0), is_cancelling=True)  # noqa: S311
    return _saying(ending, note)


def _saying(ending: Ending, note: str | None) -> Ending:
    return replace(ending, error=" ".join(filter(None, (ending.error, note))) or None)


def _stop(run: Run, vendor: Vendor, lease: Lease, settings: Settings) -> str | None:
    """What there is to say about it. Raises Away as long as nobody knows whether it stopped."""
    external_id = run.external_id or vendor.find(run.marker)
    if external_id is None:
        with transaction():
            age = session.scalars(select(func.extract("epoch", now() - Run.created_at)).where(Run.id == run.id)).one()
        if float(age) < settings.lease_seconds / 2 + vendor.listed_within_seconds:
            raise Away  # it may still appear in the vendor's list
        return None if vendor.has_list else NOT_CONFIRMED
    is_stopped = vendor.cancel(external_id)
    failpoints.hit("cancel.after_vendor")
    with transaction():
        lease.write()
        runs.save(run.id, external_id)
        runs.close(run.id, "cancelled" if is_stopped else "done", booked_to_house=not is_stopped)
    return None if is_stopped else TOO_LATE
