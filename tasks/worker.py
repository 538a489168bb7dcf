"""A worker process: made once, connected once, present in Redis, and quick to give its job back when told to stop."""

import ctypes
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from celery.signals import setup_logging, worker_process_init, worker_ready, worker_shutting_down
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
def _be_present(**_: object) -> None:
    threading.Thread(target=_say_so, daemon=True).start()


def _say_so() -> None:
    ticking = threading.Event()
    while True:
        presence.say("worker", settings)
        ticking.wait(presence.PRESENT_SECONDS / 3)


@worker_process_init.connect
def _start_child(**_: object) -> None:
    """A pool process dies with its worker, and hears from it when it is time to stop."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGUSR2, lambda *_: stopping.set())


@worker_shutting_down.connect
def _tell_children(**_: object) -> None:
    for child in _children():
        os.kill(child, signal.SIGUSR2)


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
