"""A till: one job that asks one vendor after another for things that cost money, slice by slice, by hand."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import select, text

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import Job, State, leases
from novai_web.jobs.bench import Bench
from novai_web.jobs.complaints import VendorError
from novai_web.jobs.runs import Run
from novai_web.jobs.waiting import Waiting
from novai_web.tools import echo
from novai_web.vendors import Done, Vendor

Found = TypeVar("Found")


class Till:
    """`account` is whose job it is. It promises one copy that this till never makes."""

    def __init__(self, account: Account, settings: Settings) -> None:
        self.account, self.settings = account, settings
        self.store = open_store(settings)
        with transaction():
            self.job = jobs.submit(account, echo.tool, {"copies": 1, "credits": 5}, settings).jobs[0]

    def slice(self, work: Callable[[Bench], Found]) -> Found | Waiting:
        """What `work` comes to in the job's next slice; the wait if that is how it ends."""
        self.change("UPDATE jobs SET run_at = now() - interval '1 day', lease_until = NULL WHERE id = :job")
        self.change("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :job AND state = 'running'")
        with transaction():
            lease = leases.claim("io", self.settings)
            assert lease and lease.job_id == self.job.id
            bench = Bench(session.get_one(Job, lease.job_id, populate_existing=True), lease, self.store, self.settings)
        try:
            with bench:
                return work(bench)
        except Waiting as waiting:
            return waiting
        finally:
            session.rollback()
            with transaction():
                lease.write(state=State.WAITING, lease_until=None)

    def pay(self, vendor: Vendor, request: Mapping[str, Any], **costs: int) -> Done | Waiting:
        """One slice of paying for this."""
        return self.slice(lambda bench: bench.paid(vendor, request, **{"cost_credits": 5, **costs}))

    def paid(self, vendor: Vendor, request: Mapping[str, Any], seconds: float = 30, **costs: int) -> Done:
        """Slice after slice until it is there."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if isinstance(done := self.pay(vendor, request, **costs), Done):
                return done
            time.sleep(0.1)
        raise AssertionError(f"still not there: {[(run.state, run.note) for run in self.runs()]}")

    def runs(self) -> Sequence[Run]:
        session.rollback()
        query = select(Run).where(Run.job_id == self.job.id).order_by(Run.n)
        return session.scalars(query.execution_options(populate_existing=True)).all()

    def states(self) -> list[str]:
        return [run.state for run in self.runs()]

    def errors(self) -> list[str]:
        """The codes of what administrators see, the oldest first."""
        session.rollback()
        return list(session.scalars(select(VendorError.code).order_by(VendorError.id)))

    def age(self, seconds: float) -> None:
        """As if all runs had been begun and ended so much earlier."""
        earlier = "created_at = created_at - age.s, ended_at = ended_at - age.s, posted_at = posted_at - age.s"
        self.change(
            f"UPDATE runs SET {earlier} FROM (SELECT make_interval(secs => :seconds) AS s) AS age WHERE job_id = :job",
            seconds=seconds,
        )

    def change(self, statement: str, **given: Any) -> None:
        session.rollback()
        with transaction():
            session.execute(text(statement), {"job": self.job.id, **given} if ":job" in statement else given)
