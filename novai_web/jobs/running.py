"""Running: one slice of one job, from the claim to a checkpoint, a wait or an end."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from flask import Flask, current_app
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

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

POISON = "This job stopped our workers three times, so we stopped trying. You were not charged."
LATE = "This took longer than it may. You were not charged for what is missing."


def run_slice(queue: str, store: Store, settings: Settings) -> bool:
    """Run one slice of the job of this queue whose turn it is. False: nothing was due."""
    with transaction():
        lease = claim(queue, settings)
    if lease is None:
        return False
    with structlog.contextvars.bound_contextvars(job_id=lease.job_id, lease=lease.token):
        _run(lease, store, settings)
    return True


def _run(lease: Lease, store: Store, settings: Settings) -> None:
    with transaction():
        job = session.scalars(select(Job).where(Job.id == lease.job_id).execution_options(populate_existing=True)).one()
    try:
        ending = _attempt(job, lease, store, settings)
        if ending:
            with transaction():
                end(job, ending, lease)
            clear_strays(job, store)
    except StaleLease:
        log.warning("lease_lost")
    except Waiting as pause:
        _rest(lease, State.WAITING, pause.seconds)
    except Stopping:
        _rest(lease, State.QUEUED, 0)
    log.info("slice_over", tool=job.tool_slug)


def _attempt(job: Job, lease: Lease, store: Store, settings: Settings) -> Ending | None:
    """Run the steps that are left. None: put back to be tried again later."""
    if job.lost_attempts >= LOST_ATTEMPTS_MAX:
        return Ending(State.FAILED, POISON, "poison")
    try:
        _run_steps(job, lease, store, settings)
    except Cancelled:
        return Ending(State.CANCELLED)
    except OutOfTime:
        return Ending(State.FAILED, LATE, "out_of_time")
    except (StoreFailed, Unavailable, OperationalError) as problem:
        return _try_again(job, lease, problem)
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
        except OperationalError:
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


def _try_again(job: Job, lease: Lease, problem: Exception) -> Ending | None:
    """Back into the queue with full jitter, or the end after too many tries."""
    if job.error_attempts + 1 >= ERROR_ATTEMPTS_MAX:
        said = str(problem) if isinstance(problem, NovaiError) else str(Unavailable())
        return Ending(State.FAILED, said, "unavailable")
    log.warning("trying_again", problem=type(problem).__name__, attempt=job.error_attempts + 1)
    ceiling = min(BACKOFF_SECONDS_MAX, 2.0 ** (job.error_attempts + 1))
    _rest(lease, State.QUEUED, random.uniform(0.5, ceiling), error_attempts=Job.error_attempts + 1)  # noqa: S311
    return None


def _rest(lease: Lease, state: State, seconds: float, **values: object) -> None:
    """Give the lease back; the dispatcher rings when the time has come."""
    due = now() + func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    with transaction():
        lease.write(state=state, run_at=due, lease_until=None, rung_at=None, **values)
