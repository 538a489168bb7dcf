"""Trying again: at random, later each time, never before it was asked for, and not for ever."""

from collections import Counter
from collections.abc import Callable
from statistics import mean
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from novai_web import jobs
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import StoreFailed, Unavailable
from novai_web.jobs import Job, running
from novai_web.jobs.backoff import AT_LEAST_SECONDS_MAX, SECONDS_MAX, backoff
from novai_web.jobs.waiting import Rest
from novai_web.tools import echo


@pytest.mark.parametrize(("attempt", "ceiling"), [(0, 1), (1, 2), (3, 8), (8, 256), (9, 300), (50, 300), (10**6, 300)])
def test_the_jitter_is_full_under_a_ceiling_that_doubles_to_five_minutes(attempt: int, ceiling: float) -> None:
    waits = [backoff(attempt) for _ in range(4000)]
    assert min(waits) < 0.02 * ceiling and 0.98 * ceiling < max(waits) <= ceiling
    assert mean(waits) == pytest.approx(ceiling / 2, rel=0.1)


@given(st.integers(-5, 10**9), st.floats(allow_nan=True, allow_infinity=True))
def test_whatever_a_vendor_says_the_wait_is_a_time_that_ends(attempt: int, said: float) -> None:
    assert 0 <= backoff(attempt, at_least=said) <= AT_LEAST_SECONDS_MAX + SECONDS_MAX


@given(st.integers(0, 20), st.floats(0, AT_LEAST_SECONDS_MAX))
def test_nobody_comes_back_before_the_time_that_was_asked_for(attempt: int, said: float) -> None:
    assert backoff(attempt, at_least=said) >= said


def test_five_hundred_jobs_that_were_all_told_the_same_do_not_come_back_in_the_same_second() -> None:
    """A vendor that was away for five minutes finds its jobs spread out, not a wave."""
    seconds = Counter(int(backoff(9, at_least=30)) for _ in range(500))
    assert min(seconds) >= 30 and max(seconds.values()) <= 15 and len(seconds) > 150


def test_tries_grow_rarer_while_a_vendor_stays_away() -> None:
    """How often each of 500 jobs asks in the first and in the last minute of an hour without an answer."""
    first = last = 0
    for _ in range(500):
        at, attempt = 0.0, 0
        while at < 3600:
            first += at < 60
            last += at >= 3540
            attempt += 1
            at += backoff(attempt)
    assert last < first / 8 and last < 400


@pytest.fixture
def start(app, alice, settings) -> Callable[..., Job]:
    def send(**given: Any) -> Job:
        with transaction():
            return jobs.submit(alice, echo.tool, given, settings).jobs[0]

    return send


def wait_of(job: Job) -> float:
    session.rollback()
    return float(
        session.scalar(text("SELECT extract(epoch FROM run_at - now()) FROM jobs WHERE id = :id"), {"id": job.id})
    )


@pytest.mark.parametrize(("problem", "floor"), [(StoreFailed, 120), (Unavailable, 45)])
def test_a_store_that_says_when_to_come_back_is_left_alone_until_then(start, problem, floor):
    job = start(copies=1)
    told = problem()
    told.retry_after_seconds = floor
    rests = [running._try_again(job, told) for _ in range(200)]
    assert all(isinstance(rest, Rest) and floor <= rest.seconds <= floor + 2 for rest in rests)
    assert len({rest.seconds for rest in rests if isinstance(rest, Rest)}) == 200


def test_a_job_that_is_put_back_is_not_due_before_its_wait_is_over(start, settings):
    job = start(copies=1, credits=2, trouble="store")
    store = open_store(settings)
    assert jobs.run_slice("io", store, settings) is True
    assert jobs.run_slice("io", store, settings) is False
    assert StoreFailed.retry_after_seconds - 1 < wait_of(job) <= StoreFailed.retry_after_seconds + 2
    assert invariants.broken() == {}


def test_the_last_try_ends_the_job_and_its_hold_comes_back(start, settings, alice):
    job = start(copies=1, credits=2, trouble="store")
    with transaction():
        session.execute(text("UPDATE jobs SET error_attempts = 4"))
    jobs.run_slice("io", open_store(settings), settings)
    session.expire_all()
    found = session.get_one(Job, job.id)
    assert (found.state, found.error_code, found.charged) == ("failed", "unavailable", 0)
    assert invariants.broken() == {}
