"""A desk at which one person's jobs are paid for at a real sandbox vendor, slice by slice."""

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from sqlalchemy import select, text

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import Job, leases
from novai_web.jobs.bench import Bench
from novai_web.jobs.reconciling import reconcile
from novai_web.jobs.runs import Run
from novai_web.tools import echo

ROOT = Path(__file__).parents[1]
# Longer than the vendor's list is behind, and than a POST may be on its way.
SETTLED_SECONDS = 60
BUSY = '{"sandbox": true, "error": "too many of you"}'
ONE_SLICE = """
from novai_web import db, jobs
from novai_web.config import Settings
from novai_web.engines.store import open_store
settings = Settings(_env_file=None)
with db.bare_app(settings).app_context():
    jobs.run_slice("io", open_store(settings), settings)
"""


class Desk:
    """`account` is who submits; every slice is run here, or in a process that may be killed."""

    def __init__(self, app: Flask, account: Account, settings: Settings) -> None:
        self.app, self.account, self.settings = app, account, settings
        self.url = settings.echo_vendor_url
        self.store = open_store(settings)
        self._before = {each["id"] for each in self._billed()}

    def submit(self, **given: Any) -> Job:
        wanted = {"copies": 1, "vendor": True, "vendor_seconds": 0, "credits": 5, **given}
        with transaction():
            return jobs.submit(self.account, echo.tool, wanted, self.settings).jobs[0]

    def fresh(self, job: Job) -> Job:
        session.rollback()
        return session.get_one(Job, job.id, populate_existing=True)

    def slice(self, job: Job) -> Job:
        """Its next slice, whenever that would be due."""
        self.make_due(job)
        assert jobs.run_slice("io", self.store, self.settings)
        return self.fresh(job)

    def finish(self, job: Job, most: int = 20) -> Job:
        for _ in range(most):
            if (job := self.fresh(job)).is_over:
                return job
            job = self.slice(job)
        raise AssertionError(f"still {job.state}")

    def slice_elsewhere(self, job: Job, failpoints: Path) -> "subprocess.Popen[bytes]":
        """Its next slice in a worker process of its own."""
        self.make_due(job)
        own = {
            "DATABASE_URL": self.settings.database_url,
            "REDIS_URL": self.settings.redis_url,
            "NOVAI_DATA": str(self.settings.data),
            "NOVAI_ECHO_VENDOR_URL": self.url,
            "NOVAI_LEASE_SECONDS": str(self.settings.lease_seconds),
            "NOVAI_DISK_FREE_BYTES_MIN": "0",
            "NOVAI_FAILPOINTS": str(failpoints),
        }
        return subprocess.Popen([sys.executable, "-c", ONE_SLICE], cwd=ROOT, env={**os.environ, **own})

    def make_due(self, job: Job) -> None:
        self.change("UPDATE jobs SET run_at = now() - interval '1 day' WHERE id = :id AND ended_at IS NULL", job)

    def lose_worker(self, job: Job) -> None:
        self.change("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :id AND state = 'running'", job)

    def change(self, statement: str, job: Job | None, **given: Any) -> None:
        known = {"id": job.id} if job else {}
        session.rollback()
        with transaction():
            session.execute(text(statement), {**known, **given})

    def age(self, job: Job, seconds: float) -> None:
        """As if its runs had been begun, and ended, so much earlier."""
        earlier = "created_at = created_at - age.s, ended_at = ended_at - age.s, posted_at = posted_at - age.s"
        self.change(
            f"UPDATE runs SET {earlier} FROM (SELECT make_interval(secs => :seconds) AS s) AS age WHERE job_id = :id",
            job,
            seconds=seconds,
        )

    def runs(self, job: Job) -> Sequence[Run]:
        session.rollback()
        query = select(Run).where(Run.job_id == job.id).order_by(Run.n)
        return session.scalars(query.execution_options(populate_existing=True)).all()

    def states(self, job: Job) -> list[str]:
        return [run.state for run in self.runs(job)]

    def bench(self, taken_at: float | None = None) -> Bench:
        """What a step of the job whose turn it is is handed, by hand."""
        with transaction():
            lease = leases.claim("io", self.settings)
            assert lease
            return Bench(session.get_one(Job, lease.job_id), lease, self.store, self.settings, taken_at)

    def cancel(self, job: Job) -> Job:
        session.rollback()
        with transaction():
            jobs.cancel(session.get_one(Job, job.id))
        return self.fresh(job)

    def close(self) -> None:
        """Cancel what is still open, and let housekeeping come by."""
        self.well_again()
        self.change("DELETE FROM vendors", None)
        for job in session.scalars(select(Job).where(Job.state.in_(jobs.OPEN))).all():
            self.cancel(job)
            self.lose_worker(job)
            self.age(job, SETTLED_SECONDS)
            self.finish(job)
        self.reconcile()

    def wait(self, job: Job) -> float:
        """Seconds until it is due."""
        session.rollback()
        query = text("SELECT extract(epoch FROM run_at - now()) FROM jobs WHERE id = :id")
        return float(session.scalars(query, {"id": job.id}).one())

    def beside(self, job: Job) -> threading.Thread:
        """Its next slice, in a thread with a database session of its own."""
        self.make_due(job)

        def work() -> None:
            with self.app.app_context():
                jobs.run_slice("io", self.store, self.settings)

        worker = threading.Thread(target=work)
        worker.start()
        return worker

    def reconcile(self) -> None:
        session.rollback()
        reconcile(self.settings)
        session.rollback()

    # The vendor

    def fault(self, **what: Any) -> None:
        requests.post(f"{self.url}/sandbox/faults", json=[what], timeout=5).raise_for_status()

    def well_again(self) -> None:
        requests.delete(f"{self.url}/sandbox/faults", timeout=5)

    def posts(self) -> int:
        """How often somebody tried to start something since the list of requests was emptied."""
        asked = requests.get(f"{self.url}/sandbox/requests", timeout=5).json()
        return sum(each["method"] == "POST" for each in asked)

    def asked(self) -> int:
        return len(requests.get(f"{self.url}/sandbox/requests", timeout=5).json())

    def _billed(self) -> list[dict[str, Any]]:
        return requests.get(f"{self.url}/sandbox/bill", timeout=5).json()  # type: ignore[no-any-return]

    def bill(self) -> list[dict[str, Any]]:
        """What was started since this desk opened."""
        return [each for each in self._billed() if each["id"] not in self._before]

    def paid(self) -> int:
        """How many runs are billed."""
        return sum(each["billed"] for each in self.bill())

    def unaccounted(self) -> list[dict[str, Any]]:
        """What the vendor bills that is neither a job's result nor booked to the house."""
        session.rollback()
        rows = session.execute(
            text("""
            SELECT r.external_id FROM runs r JOIN jobs j ON j.id = r.job_id
            WHERE r.booked_to_house OR (r.state = 'done' AND j.delivered > 0)""")
        ).scalars()
        known = set(rows)
        return [each for each in self.bill() if each["billed"] and each["id"] not in known]
