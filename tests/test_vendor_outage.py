"""A vendor that is down for five minutes while five hundred jobs want something of it."""

import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from novai_web import jobs
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.sandbox import started
from tests.paying import BUSY, Desk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

JOBS = 500
STEP_SECONDS = 5
OUTAGE_SECONDS = 300


@pytest.fixture
def desk(app, alice, settings) -> Iterator[Desk]:
    with started("runs") as url:
        yield Desk(app, alice, settings.model_copy(update={"echo_vendor_url": url}))
        assert invariants.broken() == {}


@pytest.fixture
def seconds_pass(desk: Desk) -> Callable[[], int]:
    """A step later by every clock that matters, what is due then is run. How often the vendor was asked."""
    last = time.monotonic()

    def step() -> int:
        nonlocal last
        later = f"interval '{max(0.0, STEP_SECONDS - (time.monotonic() - last))} seconds'"
        last = time.monotonic()
        with transaction():
            session.execute(text(f"UPDATE jobs SET run_at = run_at - {later} WHERE ended_at IS NULL"))
            session.execute(
                text(f"UPDATE vendors SET open_until = open_until - {later}, probing_at = probing_at - {later}")
            )
            due = session.scalar(text("SELECT count(*) FROM jobs WHERE ended_at IS NULL AND run_at <= now()")) or 0
        before = desk.posts()
        for _ in range(due):
            jobs.run_slice("io", desk.store, desk.settings)
            session.rollback()
        return desk.posts() - before

    return step


def test_it_is_asked_a_few_times_a_minute_and_not_by_everybody_at_once_when_it_is_back(desk, seconds_pass):
    waiting = [desk.submit(credits=0) for _ in range(JOBS)]
    desk.fault(fault="status", method="POST", status=503, body=BUSY, times=10_000)
    asked = [seconds_pass() for _ in range(OUTAGE_SECONDS // STEP_SECONDS)]
    minutes = [sum(asked[at : at + 60 // STEP_SECONDS]) for at in range(0, len(asked), 60 // STEP_SECONDS)]
    assert all(count <= 8 for count in minutes) and sum(minutes) >= 7, minutes

    desk.well_again()
    back = []
    while sum(back) < JOBS and len(back) < 600 // STEP_SECONDS:
        back.append(seconds_pass())
    assert sum(back) == JOBS and max(back) <= JOBS / 2, back
    while session.scalar(text("SELECT count(*) FROM jobs WHERE ended_at IS NULL")):
        seconds_pass()
    assert {desk.fresh(job).state for job in waiting} == {"succeeded"} and desk.paid() == JOBS
