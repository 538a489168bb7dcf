"""Clocks: a worker whose own is wrong steals nothing, ends nothing early, and spends on the database's day."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from novai_web import jobs
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.jobs import leases
from novai_web.tools import echo

ROOT = Path(__file__).parents[1]
LEASE_SECONDS = 30

# A worker as it is started, but for its clock. What it says is what it saw.
WORKER = """
import datetime, json, sys, time

off = float(sys.argv[1])
true_time, true_ns, TrueDatetime = time.time, time.time_ns, datetime.datetime
time.time = lambda: true_time() + off
time.time_ns = lambda: true_ns() + int(off * 1e9)

class AnyDatetime(type):
    def __instancecheck__(cls, found):
        return isinstance(found, TrueDatetime)

class Wrong(TrueDatetime, metaclass=AnyDatetime):
    @classmethod
    def now(cls, tz=None):
        return TrueDatetime.now(tz) + datetime.timedelta(seconds=off)

    @classmethod
    def utcnow(cls):
        return TrueDatetime.now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=off)

datetime.datetime = Wrong

from novai_web import db, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.engines.store import open_store
from novai_web.tools import echo

settings = Settings.read()
said = {"believes": datetime.datetime.now(datetime.UTC).isoformat()}
with db.bare_app(settings).app_context():
    said["stole"] = jobs.run_slice("io", open_store(settings), settings)
    with db.transaction():
        alice = db.session.get_one(Account, int(sys.argv[2]))
        (job,) = jobs.submit(alice, echo.tool, {"copies": 1, "credits": 3}, settings).jobs
    said["job"] = job.id
    said["ran"] = jobs.run_slice("io", open_store(settings), settings)
print(json.dumps(said))
"""


def work_with_a_wrong_clock(seconds_off: float, account_id: int, settings: Settings) -> dict[str, Any]:
    told = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "NOVAI_DATA": str(settings.data),
        "NOVAI_ECHO": "1",
        "NOVAI_DISK_FREE_BYTES_MIN": "0",
        "NOVAI_LEASE_SECONDS": str(LEASE_SECONDS),
    }
    command = [sys.executable, "-c", WORKER, str(seconds_off), str(account_id)]
    answer = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **told}, timeout=60)
    assert answer.returncode == 0, answer.stderr
    said: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return said


@pytest.mark.parametrize("off", [3600, -3600, 86_400, -86_400])
def test_a_worker_whose_clock_is_wrong_works_by_the_databases(app, alice, settings, off):
    with transaction():
        (held,) = jobs.submit(alice, echo.tool, {"copies": 1}, settings).jobs
        leases.claim("io", settings)
    said = work_with_a_wrong_clock(off, alice.id, settings)
    assert said["stole"] is False, "the lease of another worker runs by the database's clock"
    assert said["ran"] is True
    session.rollback()
    session.expire_all()
    assert (jobs.find(alice.id, held.id).state, jobs.find(alice.id, held.id).lost_attempts) == ("running", 0)
    found = session.execute(
        text("""SELECT jobs.state, h.day = current_date AS is_today,
                       now() - started_at < interval '1 minute' AS began_now,
                       now() - ended_at < interval '1 minute' AND ended_at <= now() AS ended_now,
                       deadline_at - started_at = make_interval(secs => deadline_seconds) AS is_in_time
                FROM jobs JOIN holds h ON h.job_id = jobs.id WHERE jobs.id = :id"""),
        {"id": said["job"]},
    ).one()
    assert tuple(found) == ("succeeded", True, True, True, True)
    days = session.execute(text("SELECT day = current_date, committed FROM daily_spend")).all()
    assert [tuple(day) for day in days] == [(True, 3), (True, 3)]
    assert invariants.broken() == {}


def test_a_lease_is_as_long_as_it_says_by_the_databases_clock(app, alice, settings):
    short = settings.model_copy(update={"lease_seconds": LEASE_SECONDS})
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings)
    with transaction():
        lease = leases.claim("io", short)
        left = text("SELECT extract(epoch FROM lease_until - clock_timestamp()) FROM jobs")
        assert lease and LEASE_SECONDS - 5 < float(session.scalar(left)) <= LEASE_SECONDS
        leases.renew(lease, short)
        assert LEASE_SECONDS - 5 < float(session.scalar(left)) <= LEASE_SECONDS


# Whoever reads this machine's clock, and why that decides neither a lease nor a deadline nor a day nor an expiry.
OWN_CLOCK = {
    "jobs/models.py": "about how long a job still takes, for people",
    "jobs/housekeeping.py": "the age of a file, by the clock that wrote it",
    "jobs/cleaning.py": "the age of a file, by the clock that wrote it",
}


def test_nothing_that_decides_about_jobs_credits_or_the_library_reads_this_machines_clock():
    reads = re.compile(
        r"\btime\.time(_ns)?\(|\bdatetime\.(now|utcnow|today)\(|\bdate\.today\(|\bgmtime\(|\blocaltime\("
    )
    house = ROOT / "novai_web"
    modules = [path for noun in ("jobs", "credits", "library") for path in house.glob(f"{noun}/**/*.py")]
    found = {str(path.relative_to(house)) for path in modules if reads.search(path.read_text())}
    assert found <= set(OWN_CLOCK), "by the database's clock, please"
    assert len(modules) > 20
