"""A real installation whose workers are killed again and again while a vendor works: one run, one bill."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from novai_web.credits.invariants import INVARIANTS
from novai_web.sandbox import started
from tests.installation import Installation, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LEASE_SECONDS = 6
KILLS = 20


@pytest.fixture(scope="module")
def vendor() -> Iterator[str]:
    with started("runs") as url:
        yield url


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, vendor: str) -> Iterator[Installation]:
    more = {"NOVAI_ECHO": "1", "NOVAI_ECHO_VENDOR_URL": vendor, "NOVAI_LEASE_SECONDS": str(LEASE_SECONDS)}
    few = {"NOVAI_IO_WORKERS": "2", "NOVAI_CPU_WORKERS": "1", "NOVAI_DISK_FREE_BYTES_MIN": "0"}
    installation = Installation(tmp_path_factory.mktemp("runs"), **more, **few)
    try:
        installation.start()
        yield installation
    finally:
        installation.clear_away()


@pytest.fixture(scope="module")
def ada(installation: Installation) -> requests.Session:
    session = requests.Session()
    account = {"email": "ada@example.com", "password": "correct horse battery", "name": "Ada"}
    answer = session.post(f"{installation.url}/api/v1/auth/register", json=account, timeout=30)
    session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return session


def start(installation: Installation, ada: requests.Session, **given: Any) -> int:
    wanted = {"copies": 2, "credits": 5, "vendor": True, **given}
    answer = ada.post(f"{installation.url}/api/v1/tools/echo/jobs", json=wanted, timeout=30)
    assert answer.ok, answer.text
    return int(answer.json()["jobs"][0]["id"])


def ask(installation: Installation, question: str, **given: Any) -> Any:
    engine = installation.engine()
    try:
        with engine.connect() as connection:
            return connection.execute(text(question), given).first()
    finally:
        engine.dispose()


def job(installation: Installation, job_id: int) -> Any:
    return ask(installation, "SELECT * FROM jobs WHERE id = :id", id=job_id)


def kill_workers(installation: Installation, *, parent_too: bool) -> None:
    """Every process that runs vendors' jobs; with the parent of them all, the supervisor has to start it again."""
    found = {pid for pid, command in installation.pids().items() if "--queues io" in command}
    doomed = {pid for pid in found if parent_too or _parent(pid) in found}
    for pid in doomed:
        with suppress(ProcessLookupError):  # it went with its parent
            os.kill(pid, signal.SIGKILL)
    until(lambda: not doomed & set(installation.pids()))


def _parent(pid: int) -> int | None:
    with suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def bill(vendor: str) -> list[dict[str, Any]]:
    return requests.get(f"{vendor}/sandbox/bill", timeout=5).json()  # type: ignore[no-any-return]


def check_books(installation: Installation) -> None:
    for name, query in INVARIANTS.items():
        assert ask(installation, query) is None, name


def test_all_workers_killed_twenty_times_during_one_run_start_it_once(installation, ada, vendor):
    job_id = start(installation, ada, vendor_seconds=75)
    until(lambda: ask(installation, "SELECT 1 FROM runs WHERE job_id = :id AND state = 'running'", id=job_id))
    for n in range(KILLS):
        time.sleep(0.5 + n % 4)
        kill_workers(installation, parent_too=n in (5, 13))
    until(lambda: job(installation, job_id).state == "succeeded", 150)
    done = job(installation, job_id)
    assert (done.delivered, done.charged) == (2, 10)
    assert [each["billed"] for each in bill(vendor)] == [True]
    assert ask(installation, "SELECT count(*) FROM runs WHERE job_id = :id", id=job_id)[0] == 1
    check_books(installation)


def test_a_cancellation_reaches_the_vendor_within_a_minute_although_the_workers_are_killed(installation, ada, vendor):
    job_id = start(installation, ada, vendor_seconds=600)
    until(lambda: ask(installation, "SELECT 1 FROM runs WHERE job_id = :id AND state = 'running'", id=job_id))
    asked_at = time.monotonic()
    assert ada.delete(f"{installation.url}/api/v1/jobs/{job_id}", timeout=30).json()["status"] == "cancelling"
    kill_workers(installation, parent_too=True)
    until(lambda: job(installation, job_id).state == "cancelled", 60)
    assert time.monotonic() - asked_at < 60
    assert not bill(vendor)[-1]["billed"] and job(installation, job_id).charged == 0
    check_books(installation)
