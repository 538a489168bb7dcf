"""The dispatcher: every second, ring for what is due and not running. Any number of them may run."""

import random
import signal
import threading

import structlog
from sqlalchemy import func, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError

from novai_web import presence, queue
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.jobs.leases import DUE
from novai_web.jobs.models import Periodic

log = structlog.get_logger()

# More bells than all workers can answer in a second; ten thousand due jobs must not become a million messages.
BELLS_MAX = 100
HOUSEKEEPING_SECONDS = 60

DUE_ONES = text(f"""
    SELECT id FROM jobs WHERE queue = :queue AND {DUE}
    ORDER BY run_at LIMIT :most""")  # noqa: S608


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
    presence.leave("dispatcher", settings)


def tick(settings: Settings) -> int:
    """One look. Returns how many bells were rung."""
    presence.say("dispatcher", settings)
    rung = sum(_ring_for_what_is_due(name) for name in queue.QUEUES)
    slot = func.floor(func.extract("epoch", func.statement_timestamp()) / HOUSEKEEPING_SECONDS)
    with transaction():
        ours = session.scalar(
            insert(Periodic).values(task="housekeeping", slot=slot).on_conflict_do_nothing().returning(Periodic.slot)
        )
    if ours:
        queue.ring_housekeeping(ours)
    return rung


def _ring_for_what_is_due(name: str) -> int:
    """As many bells as there are jobs due, less those that wait already; so it does not matter which were lost."""
    with transaction():
        due = session.scalars(DUE_ONES, {"queue": name, "most": BELLS_MAX}).all()
    waiting = queue.depth(name) if due else 0
    if waiting is None:
        return 0
    unheard = due[waiting:]
    all(queue.ring(job_id, queue=name) for job_id in unheard)
    return len(unheard)
