"""Real workers under a real installation: told to stop, killed, without bells, without a database for a moment."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from novai_web import presence
from novai_web.config import Settings
from novai_web.credits.invariants import INVARIANTS
from novai_web.embedded import servers
from tests.installation import Installation, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LEASE_SECONDS = 8


class Studio:
    """An installation whose owner starts echoes through the API, and the rows behind it."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.rows = installation.engine()
        self.session = requests.Session()
        account = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
        answer = self.session.post(f"{installation.url}/api/v1/auth/register", json=account, timeout=30)
        self.session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def start(self, **given: Any) -> list[int]:
        url = f"{self.installation.url}/api/v1/tools/echo/jobs"
        answer = self.session.post(url, json=given, timeout=30)
        assert answer.ok, answer.text
        return [job["id"] for job in answer.json()["jobs"]]

    def ask(self, question: str, **given: Any) -> Any:
        """Once the database answers."""
        end = time.monotonic() + 30
        while True:
            try:
                with self.rows.connect() as connection:
                    return connection.execute(text(question), given).first()
            except OperationalError:
                assert time.monotonic() < end
                time.sleep(0.1)

    def job(self, job_id: int) -> Any:
        return self.ask("SELECT * FROM jobs WHERE id = :id", id=job_id)

    def worker(self, queue: str) -> int:
        """The process that the supervisor started, not those of its pool."""
        found = {pid for pid, command in self.installation.pids().items() if f"--queues {queue}" in command}
        (pid,) = [pid for pid in found if _parent(pid) not in found]
        return pid

    def redis(self) -> redis.Redis:
        return redis.Redis.from_url(servers.found(Settings(_env_file=None, data=self.installation.data)).redis_url)

    def check_books(self) -> None:
        for name, query in INVARIANTS.items():
            assert self.ask(query) is None, name


def _parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    more = {"NOVAI_ECHO": "1", "NOVAI_LEASE_SECONDS": str(LEASE_SECONDS), "NOVAI_IO_WORKERS": "2"}
    installation = Installation(tmp_path_factory.mktemp("workers"), **more, NOVAI_CPU_WORKERS="1")
    try:
        installation.start()
        yield Studio(installation)
    finally:
        installation.clear_away()


@pytest.fixture(autouse=True)
def _books_are_right(studio: Studio) -> Iterator[None]:
    yield
    studio.check_books()


def test_a_worker_that_is_told_to_stop_gives_its_job_back_at_once(studio):
    (job_id,) = studio.start(copies=3, seconds=10, credits=1)
    until(lambda: studio.job(job_id).delivered == 1, 60)
    os.kill(studio.worker("io"), signal.SIGTERM)
    until(lambda: studio.job(job_id).state == "queued", LEASE_SECONDS - 2)
    assert studio.job(job_id).lost_attempts == 0
    until(lambda: studio.job(job_id).state == "succeeded", 90)
    job = studio.job(job_id)
    assert (job.slices, job.delivered, job.charged, job.lost_attempts) == (2, 3, 3, 0)


def test_a_killed_worker_costs_its_lease_and_nothing_else(studio):
    (job_id,) = studio.start(copies=4, seconds=2, credits=1)
    until(lambda: studio.job(job_id).delivered == 1, 60)
    os.kill(studio.worker("io"), signal.SIGKILL)
    until(lambda: studio.job(job_id).state == "succeeded", LEASE_SECONDS + 60)
    job = studio.job(job_id)
    assert (job.slices, job.delivered, job.charged) == (2, 4, 4)
    assert studio.ask("SELECT count(*) FROM assets WHERE made_by_job_id = :id", id=job_id)[0] == 4


def test_jobs_go_on_within_seconds_whenever_redis_is_flushed(studio):
    started = time.monotonic()
    ids = studio.start(copies=8, per_job=1, seconds=1)

    def are_over() -> bool:
        studio.redis().flushall()
        return studio.ask("SELECT count(*) FROM jobs WHERE id = ANY(:ids) AND state = 'succeeded'", ids=ids)[0] == 8

    until(are_over, 60)
    assert time.monotonic() - started < 40
    assert studio.ask("SELECT sum(lost_attempts) FROM jobs WHERE id = ANY(:ids)", ids=ids)[0] == 0


def test_a_database_that_is_killed_is_waited_for_and_the_job_goes_on(studio):
    (job_id,) = studio.start(copies=4, seconds=3, credits=1)
    until(lambda: studio.job(job_id).delivered == 1, 60)
    (postgres,) = [pid for pid, command in studio.installation.pids().items() if "bin/postgres -D" in command]
    workers = studio.worker("io"), studio.worker("cpu")
    os.kill(postgres, signal.SIGKILL)
    until(lambda: studio.job(job_id).state == "succeeded", 120)
    job = studio.job(job_id)
    assert (job.delivered, job.charged, job.lost_attempts) == (4, 4, 0)
    assert (studio.worker("io"), studio.worker("cpu")) == workers, "no worker fell"


def test_each_queue_is_heard_by_itself(studio):
    os.kill(studio.worker("cpu"), signal.SIGSTOP)
    try:
        studio.redis().delete("novai:presence:worker-cpu")
        answer = requests.get(f"{studio.installation.url}/ready", timeout=30)
        (check,) = [check for check in answer.json()["checks"] if check["name"] == "workers"]
        assert answer.status_code == 503 and "worker-cpu" in check["problem"] and "worker-io" not in check["problem"]
    finally:
        os.kill(studio.worker("cpu"), signal.SIGCONT)
    until(studio.installation.is_ready, presence.PRESENT_SECONDS)


def test_stopping_everything_in_good_order_costs_a_job_no_attempt(studio):
    (job_id,) = studio.start(copies=2, seconds=12)
    until(lambda: studio.job(job_id).progress > 0.1, 60)
    studio.installation.process.send_signal(signal.SIGTERM)
    assert studio.installation.process.wait(60) == 0
    studio.installation.start()
    studio.rows = studio.installation.engine()
    until(lambda: studio.job(job_id).state == "succeeded", 90)
    assert (studio.job(job_id).slices, studio.job(job_id).lost_attempts) == (2, 0)
