"""Running: one slice of one job, from the claim to a checkpoint, a wait or an end."""

import errno
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import structlog
from flask import Flask, current_app
from sqlalchemy import case, func, select, update
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import Store
from novai_web.errors import (
    Cancelled,
    DiskFull,
    InvalidInput,
    NovaiError,
    OutOfTime,
    StaleLease,
    StoreFailed,
    ToolFailed,
    Unavailable,
)
from novai_web.jobs import runs
from novai_web.jobs.backoff import backoff
from novai_web.jobs.bench import UNSPOILT, Bench
from novai_web.jobs.cleaning import clear_strays
from novai_web.jobs.ending import Ending, end
from novai_web.jobs.leases import Lease, claim, renew
from novai_web.jobs.models import Job, State
from novai_web.jobs.stopping import Stopping, stopping
from novai_web.jobs.waiting import Rest, Waiting, insist
from novai_web.jobs.withdrawing import withdraw
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.tools.tool import Input, Reading
from novai_web.vendors import NotConfigured

log = structlog.get_logger()

LOST_ATTEMPTS_MAX = 3
ERROR_ATTEMPTS_MAX = 5
SOURCE_HAS_AT_LEAST, SOURCE_IS_GIVEN = timedelta(hours=1), timedelta(hours=3)

POISON = "This job stopped our workers three times, so we stopped trying. You were not charged for what is missing."
LATE = "This took longer than it may. You were not charged for what is missing."
CANCELLED = Ending(State.CANCELLED)
TOO_LATE = Ending(State.FAILED, LATE, "out_of_time")


def run_slice(queue: str, store: Store, settings: Settings) -> bool:
    """Run one slice of the job of this queue whose turn it is. False: nothing was due, or not for this worker."""
    if stopping.is_set():
        return False
    asked_at = time.monotonic()
    try:
        with transaction():
            lease = claim(queue, settings)
    except OperationalError as problem:
        log.warning("database_away", problem=type(problem).__name__)
        return False
    if lease is None:
        return False
    with structlog.contextvars.bound_contextvars(job_id=lease.job_id, lease=lease.token):
        _run(lease, store, settings, asked_at)
    return True


def _run(lease: Lease, store: Store, settings: Settings, taken_at: float) -> None:
    """From the lease to its end: whatever happens on the way, the row says it afterwards, or the lease runs out."""
    try:
        outcome = _attempt(lease, store, settings, taken_at)
        insist(lambda: _write(lease, outcome), settings.lease_seconds)  # after that somebody else has the job
        if isinstance(outcome, Ending) and (lease.token > 1 or outcome.state != State.SUCCEEDED):
            clear_strays(lease.job_id, store)
    except StaleLease:
        log.warning("lease_lost")
    except OperationalError as problem:
        log.warning("database_away", problem=type(problem).__name__)
    log.info("slice_over")


def _write(lease: Lease, outcome: Ending | Rest) -> None:
    if isinstance(outcome, Ending):
        return end(lease.job_id, outcome, lease)
    due = now() + func.make_interval(0, 0, 0, 0, 0, 0, outcome.seconds)
    at_once = case((Job.cancel_requested_at.is_not(None), now()), else_=due)
    return lease.write(
        state=outcome.state,
        run_at=due if outcome.is_cancelling else at_once,
        lease_until=None,
        **_counts(outcome),
    )


def _counts(rest: Rest) -> dict[str, Any]:
    """Who ends a slice in good order to wait for somebody else neither stops workers nor fails."""
    if rest.is_failure:
        return {"error_attempts": Job.error_attempts + 1}
    return dict(UNSPOILT) if rest.state == State.WAITING else {}


def _attempt(lease: Lease, store: Store, settings: Settings, taken_at: float) -> Ending | Rest:
    """Run the steps that are left, and say how that went. Raises StaleLease."""
    with transaction():
        query = select(Job, Job.deadline_at < now()).where(Job.id == lease.job_id)
        job, is_late = session.execute(query.execution_options(populate_existing=True)).one()
    if job.cancel_requested_at:
        outcome: Ending | Rest = CANCELLED
    elif is_late:
        outcome = TOO_LATE
    elif job.lost_attempts >= LOST_ATTEMPTS_MAX:
        outcome = Ending(State.FAILED, POISON, "poison")
    else:
        outcome = _outcome(job, lease, store, settings, taken_at)
    return _withdrawn(job, lease, settings, outcome) if outcome in (CANCELLED, TOO_LATE) else outcome


def _withdrawn(job: Job, lease: Lease, settings: Settings, ending: Ending) -> Ending | Rest:
    """A job that must end does so whatever goes wrong in telling the vendor; housekeeping tells it again."""
    try:
        return withdraw(job, lease, settings, ending)
    except OperationalError:
        raise
    except Exception:
        log.exception("withdrawal_crashed")
        return ending


def _outcome(job: Job, lease: Lease, store: Store, settings: Settings, taken_at: float) -> Ending | Rest:
    try:
        _run_steps(job, lease, store, settings, taken_at)
    except Cancelled:
        return CANCELLED
    except OutOfTime:
        return TOO_LATE
    except Waiting as pause:
        return Rest(State.WAITING, pause.seconds)
    except Stopping:
        return Rest(State.QUEUED, 0)
    except (StoreFailed, Unavailable, OperationalError) as problem:
        return _try_again(job, problem)
    except (DiskFull, NotConfigured) as problem:
        return _unless_spent(job, problem)
    except InvalidInput as problem:
        return Ending(State.FAILED, " ".join(problem.fields.values()), problem.code)
    except NovaiError as problem:
        return Ending(State.FAILED, str(problem), problem.code)
    except Exception as problem:
        if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT):
            return _unless_spent(job, DiskFull())
        # The one place that catches what nobody foresaw: the person gets a sentence, the log gets the rest.
        log.exception("step_crashed", tool=job.tool_slug)
        return Ending(State.FAILED, str(ToolFailed()), ToolFailed.code)
    return Ending(State.SUCCEEDED)


def _run_steps(job: Job, lease: Lease, store: Store, settings: Settings, taken_at: float) -> None:
    with transaction():
        library = Library(job.account_id, with_trash=job.step > 0)
        given = job.tool.input.read(job.input, Reading(library, settings))
        if job.tool.engine:
            _keep_sources(given)
        bench = Bench(job, lease, store, settings, taken_at)
    with bench, _heartbeat(bench, settings):
        for step in job.tool.steps[job.step :]:
            bench.progress(0)
            step.run(given, bench)
            bench.finish_step()


def _keep_sources(given: Input) -> None:
    """What would expire by itself stays as long as a vendor is paid to work with it."""
    values = [each for value in vars(given).values() for each in (value if isinstance(value, list) else [value])]
    soon, later = now() + SOURCE_HAS_AT_LEAST, now() + SOURCE_IS_GIVEN
    expiring = [each.id for each in values if isinstance(each, Asset) and each.expires_at]
    if expiring:
        due = (Asset.id.in_(expiring), Asset.expires_at < soon, Asset.deleting_at.is_(None))
        kept = update(Asset).where(*due).values(expires_at=later)
        session.execute(kept.execution_options(synchronize_session=False))


@contextmanager
def _heartbeat(bench: Bench, settings: Settings) -> Iterator[None]:
    """Renew the lease beside the work, and carry what the row says back to it."""
    done = threading.Event()
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    beat = threading.Thread(target=_beat, args=(app, bench, settings, done), daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()


def _beat(app: Flask, bench: Bench, settings: Settings, done: threading.Event) -> None:
    good_until = time.monotonic() + settings.lease_seconds
    while not done.wait(min(settings.heartbeat_seconds, 2.0)):
        if stopping.is_set():
            bench.stop(Stopping())
        asked_at = time.monotonic()
        try:
            with app.app_context(), transaction():
                word = renew(bench.lease, settings)
        except StaleLease as stale:
            bench.stop(stale)
            return
        except SQLAlchemyError:
            # Without the database nobody else can have the job yet, until the lease runs out.
            if time.monotonic() > good_until:
                bench.stop(StaleLease())
                return
            continue
        bench.renewed(asked_at)
        good_until = asked_at + settings.lease_seconds
        if word.cancel:
            bench.stop(Cancelled())
        if word.late:
            bench.stop(OutOfTime())


def _unless_spent(job: Job, problem: NovaiError) -> Ending | Rest:
    """What an administrator must mend ends a job, but not one for which somebody is paid already."""
    return _try_again(job, problem) if _is_spent_on(job) else Ending(State.FAILED, str(problem), problem.code)


def _is_spent_on(job: Job) -> bool:
    """Unless the database cannot say: then it may be."""
    try:
        with transaction():
            return runs.is_spent_on(job.id)
    except OperationalError:
        return True


def _try_again(job: Job, problem: Exception) -> Ending | Rest:
    """Back into the queue with full jitter, or the end after too many tries. What somebody is paid for already is worth
    every try until its deadline."""
    if job.error_attempts + 1 >= ERROR_ATTEMPTS_MAX and not _is_spent_on(job):
        said = str(problem) if isinstance(problem, NovaiError) else str(Unavailable())
        return Ending(State.FAILED, said, "unavailable")
    log.warning("trying_again", problem=type(problem).__name__, attempt=job.error_attempts + 1)
    floor = float(problem.retry_after_seconds or 0) if isinstance(problem, NovaiError) else 0.0
    return Rest(State.QUEUED, backoff(job.error_attempts + 1, at_least=floor), is_failure=True)
