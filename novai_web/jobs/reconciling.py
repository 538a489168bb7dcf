"""Reconciling: every minute, what vendors say they run is compared with what we know, until nothing is left open.

A run of ours without an id is linked if its job still waits for it. What belongs to no open job is cancelled, and
if that cannot be done, or not in time, the house pays for it.
"""

import time
from collections.abc import Sequence
from typing import Any

import structlog
from sqlalchemy import update

from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.jobs import runs
from novai_web.jobs.models import OVER, Job, State
from novai_web.jobs.runs import Run
from novai_web.vendors import Away, Done, Failed, Running, Seen, Unknown, Vendor, menu

log = structlog.get_logger()

BOOKED_AFTER_SECONDS = 5 * 60  # what is not known to be cancelled by then is the house's cost until it is
CLOSING_SECONDS = 20  # of one vendor, in one round: the worker has other things to do, and there is a round a minute
AT_ONCE = 1000
FORGOTTEN_AFTER_SECONDS = 24 * 3600  # as far back as vendors list their runs


def reconcile(settings: Settings) -> None:
    """Each vendor by itself: one that is away keeps nobody else waiting."""
    vendors = menu.configured(settings)
    with transaction():
        runs.book_unreachable([each.name for each in vendors if not each.is_sandbox], BOOKED_AFTER_SECONDS)
    for vendor in vendors:
        try:
            seen = vendor.recent()
        except Away as problem:
            log.warning("vendor_not_listed", vendor=vendor.name, problem=type(problem).__name__)
        else:
            link(vendor, seen)
        close_abandoned(vendor)


def link(vendor: Vendor, seen: Sequence[Seen]) -> None:
    """Write down the ids of runs that are ours and whose answers were lost; take in those that nobody knows of."""
    ours = [each for each in seen if runs.MARKER.fullmatch(each.marker)]
    for at in range(0, len(ours), AT_ONCE):
        some = ours[at : at + AT_ONCE]
        with transaction():
            by_marker = runs.of_markers([each.marker for each in some])
            named = runs.known(vendor.name, [each.external_id for each in some])
        for each in some:
            run = by_marker.get(each.marker)
            if each.external_id in named or (run is not None and _is_it(run, each)):
                continue
            if run is not None and run.external_id is None:
                _link(run, each)
            else:
                _take_in(vendor, each)


def _is_it(run: Run, seen: Seen) -> bool:
    """Whether they are the same: a list may name a run by a shorter path than the answer to its submit did."""
    ours, theirs = ((said or "").partition(" ")[0].rpartition("/")[2] for said in (run.external_id, seen.external_id))
    return bool(ours) and ours == theirs


def _link(run: Run, seen: Seen) -> None:
    """Its job, if it waits, is called at once: jobs are locked before runs, as everywhere."""
    with transaction():
        session.execute(
            update(Job)
            .where(Job.id == run.job_id, Job.state == State.WAITING)
            .values(run_at=now())
            .execution_options(synchronize_session=False)
        )
        runs.save(run.id, seen.external_id)
    log.info("run_linked", run_id=run.id, external_id=seen.external_id)


def _take_in(vendor: Vendor, seen: Seen) -> None:
    """A second run under one marker, or one from before this database was restored."""
    found = runs.MARKER.fullmatch(seen.marker)
    assert found is not None, "only ours come here"
    with transaction():
        job = session.get(Job, int(found["job"]))
        if job is None or runs.stem(job) != found["stem"]:
            return  # of another installation that pays with the same key
        if job.doubtful_since and job.state not in OVER:
            return  # the job will look for it itself
        runs.stray(job, vendor, seen)
    log.warning("run_taken_in", job_id=job.id, external_id=seen.external_id)


def close_abandoned(vendor: Vendor) -> None:
    """Cancel at the vendor what no job waits for any more, in any order: one that never answers holds up no other."""
    end = time.monotonic() + CLOSING_SECONDS
    with transaction():
        found = runs.abandoned(vendor, AT_ONCE)
    for run, seconds in found:
        if time.monotonic() < end:
            _close(vendor, run, seconds)


def _close(vendor: Vendor, run: Run, seconds: float) -> None:
    try:
        values = _ended(vendor, run.external_id) if run.external_id else _never_seen(vendor, seconds)
    except Away as problem:
        log.warning("run_not_cancelled", run_id=run.id, problem=type(problem).__name__)
        values = _given_up(seconds)
    may_be_billed = bool(run.external_id) or not vendor.has_list
    with transaction():
        if values:
            runs.close(run.id, seen_as=("abandoned",), **values)
        elif seconds > BOOKED_AFTER_SECONDS and may_be_billed and not run.booked_to_house:
            runs.close(run.id, "abandoned", seen_as=("abandoned",), booked_to_house=True)


def _ended(vendor: Vendor, external_id: str) -> dict[str, Any]:
    """How it ended at the vendor. Raises Away."""
    if vendor.cancel(external_id):
        return {"state": "cancelled", "booked_to_house": False}
    match vendor.poll(external_id):
        case Done(cost_credits=credits, cost_microusd=cost):
            said = {"cost_credits": credits, "cost_microusd": cost}
            known = {name: value for name, value in said.items() if value is not None}
            return {"state": "done", "booked_to_house": True, **known}
        case Failed(is_billed=is_billed):
            return {"state": "failed", "booked_to_house": is_billed is not False}
        case Unknown():  # it will not be cancelled, and there is nothing more to be heard of it
            return {"state": "done", "booked_to_house": True}
        case Running():
            raise Away


def _never_seen(vendor: Vendor, seconds: float) -> dict[str, Any]:
    """Given up without an id, and never listed in all that time: it was never started, if the vendor has a list."""
    if seconds <= FORGOTTEN_AFTER_SECONDS:
        return {}
    return {"state": "not_started"} if vendor.has_list else _given_up(seconds)


def _given_up(seconds: float) -> dict[str, Any]:
    """Nobody will ever say what became of it, so the house has paid."""
    return {"state": "failed", "booked_to_house": True} if seconds > FORGOTTEN_AFTER_SECONDS else {}
