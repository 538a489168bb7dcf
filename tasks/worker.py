"""A worker process: made once, connected once, present in Redis, and quick to give its job back when told to stop."""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_ready,
    worker_shutdown,
    worker_shutting_down,
)
from flask import Flask

from novai_web import db, logs, presence, queue
from novai_web.config import Settings
from novai_web.db import session
from novai_web.engines.store import Store, open_store
from novai_web.jobs.stopping import stopping

settings = Settings.read()
queue.connect(settings)

PR_SET_PDEATHSIG = 1


@contextmanager
def house() -> Iterator[tuple[Settings, Store]]:
    """What a task works with: a database session of its own, the store and the settings."""
    with _app().app_context():
        try:
            yield settings, _store()
        finally:
            session.remove()


@cache
def _app() -> Flask:
    """Made in the process that uses it: a database connection must not be shared across a fork."""
    return db.bare_app(settings)


@cache
def _store() -> Store:
    return open_store(settings)


@setup_logging.connect
def _log(**_: object) -> None:
    logs.start(settings)


@worker_ready.connect
def _be_present(sender: Any, **_: object) -> None:
    """Whoever hears the bells of a queue says so for that queue."""
    threading.Thread(target=_say_so, args=(_kinds(sender),), daemon=True).start()


@worker_shutdown.connect
def _be_absent(**_: object) -> None:
    """Told to stop, and done. Whoever is killed instead is missed for a while."""
    for kind in presence.KINDS:
        presence.leave(kind, settings)


def _kinds(sender: Any) -> list[presence.Kind]:
    return [kind for kind in presence.KINDS if kind.removeprefix("worker-") in sender.app.amqp.queues.consume_from]


def _say_so(kinds: Sequence[presence.Kind]) -> None:
    while True:
        for kind in kinds:
            presence.say(kind, settings)
        time.sleep(presence.PRESENT_SECONDS / 3)


@worker_init.connect
def _shield_children(**_: object) -> None:
    """Pool processes inherit this until they know what the signal means: a stop may come in their first moments."""
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


@worker_process_init.connect
def _start_child(**_: object) -> None:
    """A pool process dies with its worker, and hears from it when it is time to stop."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGUSR2, _stop)


def _stop(*_: object) -> None:
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # once is enough, and a handler must not interrupt itself
    stopping.set()


@worker_shutting_down.connect
def _tell_children(**_: object) -> None:
    """SIGTERM and Ctrl-C come here at once; SIGQUIT only after Celery has waited, so stop workers with SIGTERM."""
    for child in _children():
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGUSR2)


def _children() -> list[int]:
    """Of all threads of this process, for a pool process that died may have been replaced from any."""
    return [int(pid) for thread in Path("/proc/self/task").iterdir() for pid in _children_of(thread)]


def _children_of(thread: Path) -> list[str]:
    try:
        return (thread / "children").read_text().split()
    except FileNotFoundError:  # a thread that ended meanwhile
        return []
