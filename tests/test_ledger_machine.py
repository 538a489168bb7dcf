"""The ledger as a machine: whatever is done in whatever order, every credit is where a simple model says it is."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import hypothesis
import pytest
from flask import Flask
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from novai_web import credits, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import (
    Conflict,
    DailyLimitReached,
    IdempotencyMismatch,
    InvalidInput,
    NotEnoughCredits,
    NovaiError,
)
from novai_web.jobs import Job, leases
from novai_web.jobs.running import ERROR_ATTEMPTS_MAX, LOST_ATTEMPTS_MAX
from novai_web.tools import echo

OPENING = 60
DAILY = 40


@dataclass
class Expected:
    """A job as the model sees it."""

    id: int
    price: int
    pending: frozenset[int]
    lost: frozenset[int]
    trouble: str
    day: int
    state: str = "open"
    delivered: frozenset[int] = frozenset()
    charged: int = 0
    is_refunded: bool = False
    retried_as: int | None = None
    is_due: bool = True
    is_running: bool = False
    losses: int = 0
    errors: int = 0

    @property
    def missing(self) -> frozenset[int]:
        return self.pending - self.delivered


@dataclass
class Model:
    """What everything should come to."""

    available: int = OPENING
    held: int = 0
    today: int = 0
    limit: int = DAILY
    committed: Counter[int] = field(default_factory=Counter)
    jobs: dict[int, Expected] = field(default_factory=dict)

    def refusal(self, price: int) -> type[NovaiError] | None:
        if price and self.committed[self.today] + price > self.limit:
            return DailyLimitReached
        return NotEnoughCredits if price > self.available else None

    def begin(self, job: Expected) -> None:
        self.jobs[job.id] = job
        self.available -= job.price
        self.held += job.price
        self.committed[job.day] += job.price

    def end(self, job: Expected, state: str, delivered: frozenset[int] = frozenset()) -> None:
        job.state, job.delivered, job.is_running = state, delivered, False
        job.charged = job.price * len(delivered) // len(job.pending)
        self.held -= job.price
        self.available += job.price - job.charged
        self.committed[job.day] -= job.price - job.charged

    def claim(self, job: Expected) -> None:
        job.losses += job.is_running
        job.is_running = True

    def run(self, job: Expected) -> None:
        """One slice of it, to whatever end."""
        self.claim(job)
        if job.losses >= LOST_ATTEMPTS_MAX or job.trouble == "refuse":
            return self.end(job, "failed")
        if job.trouble == "store":
            job.errors += 1
            job.is_running = job.is_due = False
            return self.end(job, "failed") if job.errors >= ERROR_ATTEMPTS_MAX else None
        delivered = job.pending - job.lost
        return self.end(job, "succeeded" if delivered else "failed", delivered)


amounts = st.integers(1, 50)
picks = st.integers(0, 1000)
copies = st.integers(1, 3)
lost = st.frozensets(st.integers(0, 2), max_size=2)
troubles = st.sampled_from(["none", "none", "none", "refuse", "store"])
keys = st.sampled_from([None, None, "a", "b"])


class Ledger(RuleBasedStateMachine):
    """One account, its jobs, an administrator, and a clock that may pass midnight."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        session.rollback()
        _do("TRUNCATE accounts, daily_spend CASCADE")  # an example that failed must not fail the next one
        self.settings = settings.model_copy(update={"daily_cost_limit_cents": 10**9})
        self.store = open_store(settings)
        self.model = Model()
        self.said: dict[str, tuple[dict[str, Any], int]] = {}
        self.payments: dict[str, int] = {}
        self.account_id = _opened("owner", OPENING, DAILY)
        self.admin_id = _opened("admin", 0, None)

    @property
    def account(self) -> Account:
        return session.get_one(Account, self.account_id)

    @property
    def admin(self) -> Account:
        return session.get_one(Account, self.admin_id)

    def job(self, pick: int) -> Expected:
        known = sorted(self.model.jobs)
        return self.model.jobs[known[pick % len(known)]]

    def row(self, job: Expected) -> Job:
        return session.get_one(Job, job.id, populate_existing=True)

    # --- Asking and starting ---------------------------------------------------------------------------------------

    @rule(copies=copies, each=st.integers(0, 9))
    def quote(self, copies: int, each: int) -> None:
        with transaction():
            found = jobs.quote(self.account, echo.tool, {"copies": copies, "credits": each}, self.settings)
        assert found.credits == copies * each

    @rule(
        copies=copies, each=st.integers(0, 9), lost=lost, trouble=troubles, key=st.sampled_from([None, None, "a", "b"])
    )
    def submit(self, copies: int, each: int, lost: frozenset[int], trouble: str, key: str | None) -> None:
        raw = {"copies": copies, "credits": each, "lost": sorted(lost), "trouble": trouble}
        earlier = self.said.get(key or "")
        refusal = self.model.refusal(copies * each)
        if earlier:
            refusal = None if earlier[0] == raw else IdempotencyMismatch
        with _refused(refusal), transaction():
            (made,) = jobs.submit(self.account, echo.tool, raw, self.settings, key=key).jobs
        if refusal:
            return
        if earlier:
            assert made.id == earlier[1]
            return
        everything = frozenset(range(copies))
        self.model.begin(Expected(made.id, copies * each, everything, lost, trouble, self.model.today))
        if key:
            self.said[key] = raw, made.id

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks)
    def retry(self, pick: int) -> None:
        job = self.job(pick)
        price = job.price * len(job.missing) // len(job.pending)
        refusal = None if job.retried_as else self.model.refusal(price)
        if job.state == "open" or not job.missing:
            refusal = Conflict
        with _refused(refusal), transaction():
            fresh = jobs.retry(self.account, self.row(job), self.settings)
        if refusal:
            return
        if job.retried_as:
            assert fresh.id == job.retried_as
            return
        job.retried_as = fresh.id
        self.model.begin(Expected(fresh.id, price, job.missing, job.lost, job.trouble, self.model.today))

    # --- Working ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.jobs)
    @rule()
    def run_a_slice(self) -> None:
        due = [job for job in self.model.jobs.values() if job.state == "open" and job.is_due]
        before = self.slices()
        assert jobs.run_slice("io", self.store, self.settings) == bool(due)
        for job_id, slices in self.slices().items():
            if slices != before[job_id]:
                self.model.run(self.model.jobs[job_id])

    @precondition(lambda self: self.model.jobs)
    @rule()
    def lose_a_worker(self) -> None:
        with transaction():
            lease = leases.claim("io", self.settings)
        if lease is None:
            return
        self.model.claim(self.model.jobs[lease.job_id])
        _do("UPDATE jobs SET lease_until = now() - interval '1 s' WHERE id = :id", id=lease.job_id)

    @rule()
    def let_a_moment_pass(self) -> None:
        for job in self.model.jobs.values():
            job.is_due = True
        _do("UPDATE jobs SET run_at = now() WHERE account_id = :id", id=self.account_id)

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks)
    def cancel(self, pick: int) -> None:
        job = self.job(pick)
        with transaction():
            jobs.cancel(self.row(job))
        if job.state == "open":
            self.model.end(job, "cancelled")

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks, amount=st.integers(0, 30))
    def settle_what_is_over(self, pick: int, amount: int) -> None:
        job = self.job(pick)
        if job.state != "open":
            with transaction():
                assert credits.settle(job.id, amount) == 0

    def slices(self) -> dict[int, int]:
        session.rollback()
        rows = session.execute(text("SELECT id, slices FROM jobs WHERE account_id = :id"), {"id": self.account_id})
        return {row.id: row.slices for row in rows}

    # --- By hand ---------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.model.jobs)
    @rule(pick=picks)
    def refund(self, pick: int) -> None:
        job = self.job(pick)
        expected = 0 if job.is_refunded else job.charged
        with transaction():
            assert credits.refund(self.row(job), by=self.admin, reason="it was no good") == expected
        job.is_refunded = job.is_refunded or expected > 0
        self.model.available += expected
        self.model.committed[job.day] -= expected

    @rule(amount=amounts, key=st.sampled_from(["a", "b", "c"]))
    def top_up(self, amount: int, key: str) -> None:
        known = self.payments.get(key)
        with _refused(IdempotencyMismatch if known not in (None, amount) else None), transaction():
            assert credits.top_up(self.account, amount, f"{self.account_id}:{key}") is (known is None)
        if known is None:
            self.payments[key] = amount
            self.model.available += amount

    @rule(amount=amounts)
    def grant(self, amount: int) -> None:
        with transaction():
            credits.grant(self.account, amount, by=self.admin, reason="a gift")
        self.model.available += amount

    @rule(delta=st.integers(-80, 40))
    def adjust(self, delta: int) -> None:
        possible = delta != 0 and self.model.available + delta >= 0
        with _refused(None if possible else InvalidInput), transaction():
            credits.adjust(self.account, delta, by=self.admin, reason="a correction")
        self.model.available += delta if possible else 0

    @rule(limit=st.none() | st.integers(0, 60))
    def change_the_limit(self, limit: int | None) -> None:
        with transaction():
            credits.set_daily_limit(self.account, limit, by=self.admin, reason="as agreed")
        self.model.limit = self.settings.account_daily_credits if limit is None else limit

    @rule()
    def pass_midnight(self) -> None:
        """All days are moved back by one; in two strides, so that no day meets its neighbour on the way."""
        for table in ("holds", "daily_spend"):
            _do(f"UPDATE {table} SET day = day - 10000")
            _do(f"UPDATE {table} SET day = day + 9999")
        self.model.today += 1

    # --- What always holds -----------------------------------------------------------------------------------------

    @invariant()
    def no_invariant_is_broken(self) -> None:
        session.rollback()
        assert invariants.broken() == {}

    @invariant()
    def the_balance_is_what_the_model_says(self) -> None:
        session.rollback()
        model, found = self.model, credits.balance(self.account, self.settings)
        spent = model.committed[model.today]
        assert (found.available, found.held) == (model.available, model.held)
        assert (found.spent_today, found.daily_limit) == (spent, model.limit)

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        session.rollback()
        query = text("SELECT id, state, charged, delivered FROM jobs WHERE account_id = :id")
        for row in session.execute(query, {"id": self.account_id}).all():
            job = self.model.jobs[row.id]
            state = "open" if row.state in jobs.OPEN else row.state
            assert (state, row.charged, row.delivered) == (job.state, job.charged, len(job.delivered))

    def teardown(self) -> None:
        """Whatever was held comes back whole."""
        for job in self.model.jobs.values():
            if job.state == "open":
                with transaction():
                    jobs.cancel(self.row(job))
                self.model.end(job, "cancelled")
        assert self.model.held == 0
        self.no_invariant_is_broken()
        self.the_balance_is_what_the_model_says()


def _opened(name: str, granted: int, limit: int | None) -> int:
    with transaction():
        number = session.scalar(text("SELECT count(*) FROM accounts"))
        account = Account(email=f"{name}{number}@example.com", name=name, role="user", password_hash="none")
        account.daily_credits = limit
        session.add(account)
        session.flush()
        credits.open_wallet(account, granted=granted)
    return account.id


def _do(statement: str, **given: Any) -> None:
    with transaction():
        session.execute(text(statement), given)


@contextlib.contextmanager
def _refused(expected: type[NovaiError] | None) -> Iterator[None]:
    """Exactly this error, or none."""
    raised: NovaiError | None = None
    try:
        yield
    except NovaiError as refusal:
        raised = refusal
    assert (type(raised) if raised else None) is expected, raised


@pytest.mark.slow
def test_every_credit_is_where_the_model_says_whatever_is_done_in_whatever_order(
    app: Flask, settings: Settings
) -> None:
    often = hypothesis.settings(
        max_examples=60,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[hypothesis.HealthCheck.too_slow, hypothesis.HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(lambda: Ledger(settings), settings=often)
