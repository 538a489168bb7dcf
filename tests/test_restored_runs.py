"""A restored backup goes on where it was: what a vendor was paid for is found there, and nothing is paid twice."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import text

from novai_web.credits.invariants import INVARIANTS
from novai_web.sandbox import started
from tests import backups
from tests.commands import flask
from tests.installation import Installation, until
from tests.test_survival import Owner

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

VENDOR_SECONDS = 45


@pytest.fixture
def vendor() -> Iterator[str]:
    with started("runs") as url:
        yield url


@pytest.fixture
def installations(tmp_path: Path, vendor: str) -> Iterator[tuple[Installation, Installation]]:
    """One that runs, and a new one; the same vendor, and one worker for everything that waits."""
    settings = {"NOVAI_ECHO": "1", "NOVAI_ECHO_VENDOR_URL": vendor, "NOVAI_LEASE_SECONDS": "6"}
    settings |= {"NOVAI_IO_WORKERS": "1", "NOVAI_CPU_WORKERS": "1"}
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    old, new = (Installation(tmp_path / name, **settings) for name in ("old", "new"))
    yield old, new
    old.clear_away()
    new.clear_away()


def environment(installation: Installation) -> dict[str, str]:
    return {"NOVAI_DATA": str(installation.data), **installation.settings}


def submit(owner: Owner, **given: Any) -> int:
    made = owner.post("/tools/echo/jobs", json={"copies": 1, **given})
    return int(made["jobs"][0]["id"])


def asked(installation: Installation, query: str, **given: Any) -> Any:
    engine = installation.engine()
    try:
        with engine.connect() as connection:
            return connection.scalar(text(query), given)
    finally:
        engine.dispose()


def run_of(installation: Installation, job_id: int) -> str | None:
    return asked(installation, "SELECT state FROM runs WHERE job_id = :job ORDER BY n DESC LIMIT 1", job=job_id)


def test_an_older_backup_finds_the_runs_that_were_begun_after_it(installations, vendor, tmp_path):
    old, new = installations
    old.start()
    owner = Owner(old)
    first = submit(owner, vendor=True, vendor_seconds=VENDOR_SECONDS, credits=2)
    until(lambda: run_of(old, first) == "running")
    blocker = submit(owner, seconds=25)
    until(lambda: asked(old, "SELECT state FROM jobs WHERE id = :job", job=blocker) == "running")
    second = submit(owner, vendor=True, vendor_seconds=VENDOR_SECONDS, credits=2)

    taken = flask("backup", tmp_path / "b.tar", **environment(old))
    assert taken.returncode == 0, taken.stderr
    assert backups.manifest(tmp_path / "b.tar")["tables"]["runs"]["rows"] == 1, "only the first has a run by then"
    until(lambda: run_of(old, second) == "running")
    old.kill()

    put_back = flask("restore", tmp_path / "b.tar", **environment(new))
    assert put_back.returncode == 0, put_back.stdout + put_back.stderr
    new.start()
    until(lambda: asked(new, "SELECT count(*) FROM jobs WHERE ended_at IS NULL") == 0, patience_seconds=240)

    posts = [each for each in requests.get(f"{vendor}/sandbox/requests", timeout=10).json() if each["method"] == "POST"]
    assert len([each for each in posts if each["path"] == "/runs"]) == 2, "nothing was submitted again"
    bill = requests.get(f"{vendor}/sandbox/bill", timeout=10).json()
    billed = Counter(int(each["marker"].split("-")[1]) for each in bill if each["billed"])
    assert billed == {first: 1, second: 1}
    _check_books(new, {first, second, blocker})


def test_a_backup_from_the_middle_of_everything_goes_into_one_that_runs(installations, tmp_path):
    """Taken beside work that goes on: rows of one moment, and the files they speak of. Restored beside a dispatcher
    and workers that have nothing to do yet."""
    old, new = installations
    old.start()
    owner = Owner(old)
    made = owner.post("/tools/echo/jobs", json={"copies": 40, "per_job": 2, "seconds": 0.2, "credits": 1})
    batch = int(made["batch"]["id"])
    until(lambda: owner.done(batch) >= 3)
    taken = flask("backup", tmp_path / "b.tar", **environment(old))
    assert taken.returncode == 0, taken.stderr
    old.kill()
    new.start()
    put_back = flask("restore", tmp_path / "b.tar", **environment(new))
    assert put_back.returncode == 0, put_back.stdout + put_back.stderr
    until(lambda: asked(new, "SELECT count(*) FROM jobs WHERE ended_at IS NULL") == 0, patience_seconds=240)
    assert asked(new, "SELECT count(*) FROM outputs WHERE state = 'done'") == 40
    assert asked(new, "SELECT sum(charged) FROM jobs") == 40
    _check_books(new, set())


def _check_books(installation: Installation, succeeded: set[int]) -> None:
    engine = installation.engine()
    with engine.connect() as connection:
        states = dict(connection.execute(text("SELECT id, state FROM jobs")).tuples().all())
        assert {states[job_id] for job_id in succeeded} <= {"succeeded"}
        for name, query in INVARIANTS.items():
            assert connection.execute(text(query)).all() == [], name
    engine.dispose()
    checked = flask("fsck", "--deep", **environment(installation))
    assert checked.returncode == 0, checked.stdout + checked.stderr
