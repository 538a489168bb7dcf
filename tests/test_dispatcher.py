"""The dispatcher: whatever becomes of bells, of Redis or of another dispatcher, what is due is rung for."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import text

from novai_web import jobs, queue
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.jobs import Job, dispatcher, leases
from novai_web.tools import echo
from tests.bells import connect_anew


@pytest.fixture
def submit(app, alice, settings: Settings) -> Callable[..., list[Job]]:
    """Jobs whose own bells were lost, in a minute whose housekeeping was rung for."""
    dispatcher.tick(settings)

    def send(**given: Any) -> list[Job]:
        with transaction():
            made = list(jobs.submit(alice, echo.tool, given, settings).jobs)
        flush(settings)
        return made

    return send


def flush(settings: Settings) -> None:
    redis.Redis.from_url(settings.redis_url).flushall()


def change(job: Job, what: str) -> None:
    with transaction():
        session.execute(text(f"UPDATE jobs SET {what} WHERE id = :id"), {"id": job.id})


def test_it_rings_for_what_is_due_and_not_again_while_those_bells_wait(submit, settings):
    submit(copies=20, per_job=10)
    assert [dispatcher.tick(settings) for _ in range(3)] == [2, 0, 0]
    assert queue.depth("cpu") == 0


def test_a_submit_rings_by_itself_and_the_dispatcher_adds_nothing(app, alice, settings):
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 3, "per_job": 1}, settings)
    assert queue.depth("io") == 3 and dispatcher.tick(settings) == 0


def test_a_flushed_redis_costs_one_look(submit, settings):
    submit(copies=3, per_job=1)
    assert dispatcher.tick(settings) == 3
    flush(settings)
    assert dispatcher.tick(settings) == 3


def test_ten_thousand_waiting_jobs_do_not_become_more_bells_than_workers_can_answer(submit, settings):
    (job,) = submit(copies=1)
    copy_job(job, 10_000)
    for _ in range(5):
        dispatcher.tick(settings)
    assert dispatcher.BELLS_MAX <= queue.depth("io") <= dispatcher.BELLS_MAX + 1  # with a housekeeping


def copy_job(job: Job, times: int) -> None:
    columns = "account_id, tool_slug, title, queue, input, price, promised, notes, deadline_seconds, state"
    columns += ", charged, delivered, step, progress, lease_token, slices, lost_attempts, error_attempts, priority"
    with transaction():
        session.execute(
            text(f"INSERT INTO jobs ({columns}) SELECT {columns} FROM jobs, generate_series(1, :n) WHERE id = :id"),
            {"n": times, "id": job.id},
        )
        session.execute(text("ANALYZE jobs"))


def test_two_dispatchers_at_once_ring_twice_at_most_and_the_job_runs_once(submit, settings, store):
    submit(copies=1)
    rung = dispatcher.tick(settings) + dispatcher.tick(settings)
    assert rung == 1
    ran = [jobs.run_slice("io", store, settings) for _ in range(2)]
    assert ran == [True, False]
    assert session.scalar(text("SELECT count(*) FROM assets")) == 1


@pytest.fixture
def store(settings: Settings) -> Any:
    from novai_web.engines.store import open_store

    return open_store(settings)


def test_nothing_is_rung_for_what_is_running_over_or_not_due_yet(submit, settings):
    running, over, later = submit(copies=3, per_job=1)
    change(running, "state = 'running', lease_until = now() + interval '1 minute'")
    with transaction():
        jobs.cancel(over)
    change(later, "state = 'waiting', run_at = now() + interval '1 hour'")
    assert dispatcher.tick(settings) == 0


def test_a_job_whose_worker_died_is_rung_for(submit, settings):
    (job,) = submit(copies=1)
    with transaction():
        leases.claim("io", settings)
    assert dispatcher.tick(settings) == 0
    change(job, "lease_until = now() - interval '1 second'")
    assert dispatcher.tick(settings) == 1


@pytest.fixture
def no_redis(app, settings: Settings) -> Iterator[Settings]:
    """Settings that name a Redis which is not there; Celery knows no other either."""
    away = settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    connect_anew(away)
    yield away
    connect_anew(settings)


def test_a_redis_that_is_away_does_no_harm_and_is_rung_when_it_is_back(submit, settings, no_redis):
    submit(copies=5, per_job=1)
    assert dispatcher.tick(no_redis) == 0
    connect_anew(settings)
    assert dispatcher.tick(settings) == 5


def test_a_submit_does_not_wait_for_each_of_its_bells_when_redis_is_away(app, alice, settings, no_redis, monkeypatch):
    tried: list[int] = []
    ring = queue.ring
    monkeypatch.setattr(queue, "ring", lambda job_id, *, queue: tried.append(job_id) or ring(job_id, queue=queue))
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 30, "per_job": 1}, settings)
    assert len(made.jobs) == 30 and len(tried) == 1


def test_the_housekeeping_of_a_minute_is_rung_for_once(app, settings):
    flush(settings)
    dispatcher.tick(settings)
    dispatcher.tick(settings)
    assert queue.depth("io") <= 2  # two only if a minute ended between the looks
    assert session.scalar(text("SELECT count(*) FROM periodic")) == queue.depth("io")


def test_one_job_of_another_account_is_next_although_ten_thousand_are_waiting(submit, bob, settings):
    (job,) = submit(copies=1)
    copy_job(job, 10_000)
    with transaction():
        (bobs,) = jobs.submit(bob, echo.tool, {"copies": 1}, settings).jobs
        first = leases.claim("io", settings)
        second = leases.claim("io", settings)
    assert first.job_id == job.id and second.job_id == bobs.id
