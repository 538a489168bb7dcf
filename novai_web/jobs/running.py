"""Running: one slice of one job, from the claim to a checkpoint, a wait or an end."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
from flask import Flask, current_app
from sqlalchemy import case, func, select
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import Store
from novai_web.errors import (
    Cancelled,
    InvalidInput,
    NovaiError,
    OutOfTime,
    StaleLease,
    StoreFailed,
    ToolFailed,
    Unavailable,
)
from novai_web.jobs.bench import Bench, Waiting
from novai_web.jobs.cleaning import clear_strays
from novai_web.jobs.ending import Ending, end
from novai_web.jobs.leases import Lease, claim, renew
from novai_web.jobs.models import Job, State
from novai_web.jobs.stopping import Stopping, stopping
from novai_web.library.assets import Library
from novai_web.tools.tool import Reading

log = structlog.get_logger()

LOST_ATTEMPTS_MAX = 3
ERROR_ATTEMPTS_MAX = 5
BACKOFF_SECONDS_MAX = 300.0

POISON = "This job stopped our workers three times, so we stopped trying. You were not charged for what is missing."
LATE = "This took longer than it may. You were not charged for what is missing."


def run_slice(queue: str, store: Store, settings: Settings) -> bool:
    """Run one slice of the job of this queue whose turn it is. False: nothing was due, or not for this worker."""
    if stopping.is_set():
        return False
    try:
        with transaction():
            lease = claim(queue, settings)
    except OperationalError as problem:
        log.warning("database_away", problem=type(problem).__name__)
        return False
    if lease is None:
        return False
    with structlog.contextvars.bound_contextvars(job_id=lease.job_id, lease=lease.token):
        _run(lease, store, settings)
    return True


def _run(lease: Lease, store: Store, settings: Settings) -> None:
    """From the lease to its end: whatever happens on the way, the row says it afterwards, or the lease runs out."""
    try:
        outcome = _attempt(lease, store, settings)
        _persist(lambda: _write(lease, outcome), settings)
        if isinstance(outcome, Ending) and lease.token > 1:
            clear_strays(lease.job_id, store)
    except StaleLease:
        log.warning("lease_lost")
    except OperationalError as problem:
        log.warning("database_away", problem=type(problem).__name__)
    log.info("slice_over")


@dataclass(frozen=True)
class Rest:
    """The job is put back, to be called again when the time has come."""

    state: State
    seconds: float
    is_failure: bool = False


def _write(lease: Lease, outcome: Ending | Rest) -> None:
    if isinstance(outcome, Ending):
        return end(lease.job_id, outcome, lease)
    due = now() + func.make_interval(0, 0, 0, 0, 0, 0, outcome.seconds)
    return lease.write(
        state=outcome.state,
        run_at=case((Job.cancel_requested_at.is_not(None), now()), else_=due),
        lease_until=None,
        error_attempts=Job.error_attempts + int(outcome.is_failure),
    )


def _persist(write: Callable[[], None], settings: Settings) -> None:
    """Write how a slice ended, also when the database restarts just then. After a lease somebody else has the job."""
    end_of_lease = time.monotonic() + settings.lease_seconds
    while True:
        try:
            with transaction():
                return write()
        except OperationalError:
            if time.monotonic() > end_of_lease:
                raise
            time.sleep(random.uniform(0.5, 1.5))  # noqa: S311


def _attempt(lease: Lease, store: Store, settings: Settings) -> Ending | Rest:
    """Run the steps that are left, and say how that went. Raises StaleLease."""
    with transaction():
        job = session.scalars(select(Job).where(Job.id == lease.job_id).execution_options(populate_existing=True)).one()
    if job.cancel_requested_at:
        return Ending(State.CANCELLED)
    if job.lost_attempts >= LOST_ATTEMPTS_MAX:
        return Ending(State.FAILED, POISON, "poison")
    try:
        _run_steps(job, lease, store, settings)
    except Cancelled:
        return Ending(State.CANCELLED)
    except OutOfTime:
        return Ending(State.FAILED, LATE, "out_of_time")
    except Waiting as pause:
        return Rest(State.WAITING, pause.seconds)
    except Stopping:
        return Rest(State.QUEUED, 0)
    except (StoreFailed, Unavailable, OperationalError) as problem:
        return _try_again(job, problem)
    except InvalidInput as problem:
        return Ending(State.FAILED, " ".join(problem.fields.values()), problem.code)
    except NovaiError as problem:
        return Ending(State.FAILED, str(problem), problem.code)
    except Exception:
        # The one place that catches what nobody foresaw: the person gets a sentence, the log gets the rest.
        log.exception("step_crashed", tool=job.tool_slug)
        return Ending(State.FAILED, str(ToolFailed()), ToolFailed.code)
    return Ending(State.SUCCEEDED)


def _run_steps(job: Job, lease: Lease, store: Store, settings: Settings) -> None:
    with transaction():
        given = job.tool.input.read(job.input, Reading(Library(job.account_id), settings))
        bench = Bench(job, lease, store, settings)
    with bench, _heartbeat(bench, settings):
        for step in job.tool.steps[job.step :]:
            bench.progress(0)
            step.run(given, bench)
            bench.finish_step()


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
        good_until = time.monotonic() + settings.lease_seconds
        if word.cancel:
            bench.stop(Cancelled())
        if word.late:
            bench.stop(OutOfTime())


def _try_again(job: Job, problem: Exception) -> Ending | Rest:
    """Back into the queue with full jitter, or the end after too many tries."""
    if job.error_attempts + 1 >= ERROR_ATTEMPTS_MAX:
        said = str(problem) if isinstance(problem, NovaiError) else str(Unavailable())
        return Ending(State.FAILED, said, "unavailable")
    log.warning("trying_again", problem=type(problem).__name__, attempt=job.error_attempts + 1)
    ceiling = min(BACKOFF_SECONDS_MAX, 2.0 ** (job.error_attempts + 1))
    return Rest(State.QUEUED, random.uniform(0.5, ceiling), is_failure=True)  # noqa: S311
