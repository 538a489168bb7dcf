"""A job that kills whoever touches it, under a real installation: it fails visibly, and nobody else notices."""

import time
from collections.abc import Iterator

import pytest

from tests.installation import Installation, until
from tests.test_worker import Studio

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LEASE_SECONDS = 3
OTHERS = 12


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    more = {"NOVAI_ECHO": "1", "NOVAI_LEASE_SECONDS": str(LEASE_SECONDS), "NOVAI_IO_WORKERS": "2"}
    installation = Installation(tmp_path_factory.mktemp("poison"), **more, NOVAI_CPU_WORKERS="1")
    try:
        installation.start()
        yield Studio(installation)
    finally:
        installation.clear_away()


def run_others(studio: Studio) -> float:
    """A dozen ordinary jobs; how long they take in all."""
    began = time.monotonic()
    ids = studio.start(copies=OTHERS, per_job=1, seconds=0.5, credits=1)
    over = "SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND state = 'succeeded'"
    until(lambda: studio.ask(over, ids=ids)[0] == OTHERS, 120)
    took = time.monotonic() - began
    said = studio.ask("SELECT sum(slices), sum(lost_attempts), sum(charged) FROM jobs WHERE id = ANY(:ids)", ids=ids)
    assert tuple(said) == (OTHERS, 0, OTHERS), "each ran once and was paid once"
    return took


def test_a_job_that_kills_its_worker_three_times_fails_and_nobody_else_notices(studio):
    alone = run_others(studio)
    (poison,) = studio.start(copies=1, credits=5, trouble="die")
    assert run_others(studio) < 2 * alone + LEASE_SECONDS
    until(lambda: studio.job(poison).state == "failed", 20 * LEASE_SECONDS)
    job = studio.job(poison)
    assert (job.error_code, job.lost_attempts, job.slices, job.charged) == ("poison", 3, 4, 0)
    assert "stopped our workers three times" in job.error
    run_others(studio)
    studio.check_books()


def test_several_poisonous_jobs_at_once_stop_nothing_but_themselves(studio):
    poisons = studio.start(copies=4, per_job=1, trouble="die")
    run_others(studio)
    over = "SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND error_code = 'poison'"
    until(lambda: studio.ask(over, ids=poisons)[0] == 4, 40 * LEASE_SECONDS)
    studio.check_books()
