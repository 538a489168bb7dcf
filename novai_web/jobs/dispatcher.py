"""The dispatcher: every second, ring for what is due and not running. Any number of them may run."""

import random
import signal
import threading
import time

import structlog
from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError

from novai_web import presence, queue
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.jobs.models import Periodic

log = structlog.get_logger()

# A bell that was rung is trusted this long. Losing all of Redis costs no more than this.
BELL_SECONDS = 10
HOUSEKEEPING_SECONDS = 60

DUE = text("""
    UPDATE jobs SET rung_at = now() WHERE id IN (
        SELECT id FROM jobs
        WHERE state IN ('queued', 'waiting', 'running') AND run_at <= now()
          AND (state <> 'running' OR lease_until < now())
          AND (rung_at IS NULL OR rung_at < GREATEST(run_at, now() - make_interval(secs => :bell)))
        ORDER BY run_at LIMIT 200 FOR UPDATE SKIP LOCKED)
    RETURNING id, queue""")


def run(settings: Settings) -> None:
    """Ring until told to stop. A database that is away is waited for."""
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    log.info("dispatching")
    while not done.wait(1.0):
        try:
            tick(settings)
        except OperationalError as problem:
            log.warning("database_away", problem=type(problem).__name__)
            done.wait(random.uniform(0.5, 3.0))  # noqa: S311
        finally:
            session.remove()


def tick(settings: Settings) -> int:
    """One look. Returns how many bells were rung."""
    presence.say("dispatcher", settings)
    with transaction():
        bells = session.execute(DUE, {"bell": BELL_SECONDS}).all()
    for job_id, name in bells:
        queue.ring(job_id, queue=name)
    slot = int(time.time()) // HOUSEKEEPING_SECONDS
    with transaction():
        ours = session.scalar(
            insert(Periodic).values(task="housekeeping", slot=slot).on_conflict_do_nothing().returning(Periodic.slot)
        )
    if ours:
        queue.ring_housekeeping(slot)
    return len(bells)
