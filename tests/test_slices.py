"""How a slice ends when something goes wrong around it: cleanly, and with the job's row saying what became of it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from novai_web import jobs
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import Store, open_store
from novai_web.jobs import Job, housekeeping, running
from novai_web.jobs.stopping import stopping
from novai_web.tools import echo
from tests import things

START = Callable[..., tuple[Job, "Future[bool]"]]


@pytest.fixture
def store(settings: Settings) -> Store:
    return open_store(settings)


@pytest.fixture
def submit(app, alice, settings: Settings) -> Iterator[Callable[..., Job]]:
    def send(**given: Any) -> Job:
        with transaction():
            return jobs.submit(alice, echo.tool, given, settings).jobs[0]

    yield send
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def start(app, submit, store, settings: Settings) -> Iterator[START]:
    """A job, and a worker in a thread that has it by now; the slice must end without raising."""
    with ThreadPoolExecutor(max_workers=1) as threads:

        def begin(limits: Settings = settings, **given: Any) -> tuple[Job, Future[bool]]:
            job = submit(**given)

            def work() -> bool:
                with app.app_context():
                    return jobs.run_slice("io", store, limits)

            slice_ = threads.submit(work)
            while fresh(job).state == "queued":
                time.sleep(0.02)
            return job, slice_

        yield begin


def fresh(job: Job) -> Job:
    session.rollback()
    return session.get_one(Job, job.id, populate_existing=True)


def change(job: Job, what: str) -> None:
    with transaction():
        session.execute(text(f"UPDATE jobs SET {what} WHERE id = :id"), {"id": job.id})


def cut_all_connections(database: Engine) -> None:
    """As a restart of the database does."""
    session.remove()
    with database.begin() as connection:
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                 " AND datname = current_database() AND backend_type = 'client backend'")
        )  # fmt: skip


def test_a_cut_connection_costs_a_job_no_attempt_but_a_moment(start, store, settings, database):
    job, slice_ = start(copies=3, seconds=1)
    for _ in range(3):
        time.sleep(0.3)
        cut_all_connections(database)
    assert slice_.result(20)
    assert fresh(job).state in ("queued", "succeeded")
    change(job, "run_at = now()") if fresh(job).state == "queued" else None
    jobs.run_slice("io", store, settings)
    assert (fresh(job).state, fresh(job).delivered, fresh(job).lost_attempts) == ("succeeded", 3, 0)


def test_a_database_that_is_away_when_a_bell_is_heard_is_no_crash(app, make_app, store, settings):
    away = make_app(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none")
    with away.app_context():
        assert jobs.run_slice("io", store, settings) is False


def test_a_worker_told_to_stop_after_it_lost_its_lease_ends_quietly(start):
    job, slice_ = start(copies=1, seconds=6)
    change(job, "lease_token = lease_token + 1, lease_until = now() + interval '1 minute'")
    stopping.set()
    try:
        assert slice_.result(20)
    finally:
        stopping.clear()
    assert (fresh(job).state, fresh(job).delivered) == ("running", 0)


def test_a_worker_told_to_stop_takes_no_other_job(submit, store, settings):
    job = submit(copies=1)
    stopping.set()
    try:
        assert jobs.run_slice("io", store, settings) is False
    finally:
        stopping.clear()
    assert fresh(job).state == "queued"


def test_a_job_past_its_deadline_stops_and_pays_for_what_is_there(start):
    job, slice_ = start(copies=4, seconds=2, credits=1)
    while not fresh(job).delivered:
        time.sleep(0.05)
    change(job, "deadline_at = now()")
    assert slice_.result(20)
    job = fresh(job)
    assert (job.state, job.error, job.charged) == ("succeeded", running.LATE, job.delivered)
    assert 0 < job.delivered < 4


def test_a_cancelled_job_that_is_put_back_is_not_waited_for(start, store, settings):
    job, slice_ = start(copies=1, seconds=6)
    stopping.set()
    try:
        with transaction():
            jobs.cancel(job)
        assert slice_.result(20)
    finally:
        stopping.clear()
    jobs.run_slice("io", store, settings)
    assert fresh(job).state == "cancelled"


def test_errors_are_counted_anew_once_something_was_delivered(submit, store, settings):
    job = submit(copies=2)
    change(job, "error_attempts = 4, lost_attempts = 2")
    jobs.run_slice("io", store, settings)
    assert (fresh(job).error_attempts, fresh(job).lost_attempts) == (0, 0)


@pytest.mark.parametrize("cancelled", [False, True])
def test_files_that_a_killed_worker_left_are_cleared_however_the_job_ends(submit, store, settings, cancelled, tmp_path):
    job = submit(copies=1)
    change(job, "state = 'running', slices = 1, lease_token = 1, lease_until = now() - interval '1 s'")
    (tmp_path / "stray.wav").write_bytes(b"never written down")
    store.put(f"jobs/{job.id}/0-1.wav", Path(tmp_path / "stray.wav"), "audio/wav")
    if cancelled:
        with transaction():
            jobs.cancel(job)
        housekeeping.keep_house(store, settings)
    else:
        jobs.run_slice("io", store, settings)
    known = session.scalars(text("SELECT store_key FROM assets")).all()
    assert things.stored(settings) == known and len(known) == (0 if cancelled else 1)


def test_two_workers_of_one_machine_do_not_share_a_scratch_folder(start, store, settings):
    """The folder of a worker that was overtaken is cleared; the worker that has the job keeps its own."""
    job, slice_ = start(copies=1, seconds=3)
    while not list(settings.scratch_folder.glob(f"job-{job.id}-1")):
        time.sleep(0.02)
    change(job, "lease_until = now() - interval '1 s'")
    while not jobs.run_slice("io", store, settings):  # its own heartbeat may have been quicker
        change(job, "lease_until = now() - interval '1 s'")
    assert slice_.result(20) and not list(settings.scratch_folder.glob(f"job-{job.id}-*"))
    assert (fresh(job).state, fresh(job).delivered) == ("succeeded", 1)
