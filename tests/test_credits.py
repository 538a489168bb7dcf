"""The ledger: what is held, captured and released, what may not be passed, and that every credit is explained."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from novai_web import credits, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import DailyLimitReached, NotEnoughCredits, NovaiError
from novai_web.jobs import Job
from novai_web.tools import echo


@pytest.fixture(autouse=True)
def _books_are_right(app: Flask) -> Iterator[None]:
    yield
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def submit(app: Flask, alice: Account, settings: Settings) -> Callable[..., list[Job]]:
    def send(**given: Any) -> list[Job]:
        with transaction():
            return list(jobs.submit(alice, echo.tool, given, settings).jobs)

    return send


@pytest.fixture
def work(app: Flask, settings: Settings) -> Callable[[], None]:
    def until_idle() -> None:
        while jobs.run_slice("io", open_store(settings), settings):
            pass

    return until_idle


def balance(account: Account, settings: Settings) -> credits.Balance:
    session.rollback()
    session.expire_all()
    return credits.balance(account, settings)


def entries(job: Job) -> list[tuple[str, int, int, int]]:
    rows = session.execute(
        text("SELECT kind, delta_available, delta_held, delta_spent FROM entries WHERE job_id = :id ORDER BY id"),
        {"id": job.id},
    )
    return [tuple(row) for row in rows]


def test_every_credit_of_a_job_has_its_entry(submit, work, alice, settings):
    (job,) = submit(copies=4, credits=5, lost=[1])
    assert entries(job) == [("reserve", -20, 20, 0)]
    work()
    assert entries(job) == [("reserve", -20, 20, 0), ("capture", 0, -15, 15), ("release", 5, -5, 0)]
    now = balance(alice, settings)
    assert (now.available, now.held, now.spent_today) == (settings.starting_credits - 15, 0, 15)


def test_what_is_cancelled_is_released_whole(submit, alice, settings):
    (job,) = submit(copies=4, credits=5)
    with transaction():
        jobs.cancel(job)
    assert entries(job) == [("reserve", -20, 20, 0), ("release", 20, -20, 0)]
    assert balance(alice, settings).spent_today == 0


def test_settling_twice_moves_nothing_the_second_time(submit, work, alice, settings):
    (job,) = submit(copies=2, credits=5)
    work()
    before = balance(alice, settings)
    with transaction():
        assert credits.settle(job.id, 10) == 0
    assert balance(alice, settings) == before


def test_a_price_that_does_not_divide_is_held_to_the_last_credit(app, alice, settings):
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 7, "per_job": 3, "credits": 1}, settings)
    assert [job.price for job in made.jobs] == [3, 3, 1] and balance(alice, settings).held == 7


def test_a_share_of_a_price_is_rounded_down_even_to_nothing(app, alice, settings, work):
    flat = replace(echo.tool, price=lambda given, settings: 2)
    for lost, charged in (([0, 1], 0), ([0], 1), ([], 2)):
        with transaction():
            (job,) = jobs.submit(alice, flat, {"copies": 3, "lost": lost}, settings).jobs
        work()
        session.expire_all()
        assert (session.get_one(Job, job.id).state, session.get_one(Job, job.id).charged) == ("succeeded", charged)
    assert balance(alice, settings).held == 0


def test_a_submit_of_many_jobs_asks_the_database_as_often_as_one_of_few(submit, queries):
    asked = []
    for copies in (2, 60):
        with queries() as said:
            submit(copies=copies, per_job=1, credits=1)
        asked.append(len(said))
    assert asked[1] <= asked[0] + 2


def test_entries_cannot_be_changed_or_deleted(submit):
    submit(copies=1, credits=1)
    for tampering in ("UPDATE entries SET delta_available = 99", "DELETE FROM entries"):
        with pytest.raises(DBAPIError, match="append-only"), transaction():
            session.execute(text(tampering))


def test_a_wallet_cannot_go_below_nothing_even_by_hand(submit, alice):
    with pytest.raises(DBAPIError, match="available"), transaction():
        session.execute(text("UPDATE wallets SET available = -1 WHERE account_id = :id"), {"id": alice.id})


def test_a_hold_belongs_to_the_day_it_was_made_on(submit, work, alice, settings):
    submit(copies=2, credits=5, lost=[0])
    yesterday = date.today() - timedelta(days=1)
    with transaction():  # as if the clock had passed midnight meanwhile
        for table in ("holds", "daily_spend"):
            session.execute(text(f"UPDATE {table} SET day = :day"), {"day": yesterday})
    work()
    days = session.execute(text("SELECT account_id, day, committed FROM daily_spend")).all()
    assert {(row.account_id, row.day, row.committed) for row in days} == {(0, yesterday, 5), (alice.id, yesterday, 5)}
    assert balance(alice, settings).spent_today == 0


def test_yesterdays_spend_does_not_count_today(app, alice, settings):
    small = settings.model_copy(update={"account_daily_credits": 10})
    for day in range(2):
        with transaction():
            jobs.submit(alice, echo.tool, {"copies": 10, "credits": 1}, small)
        with pytest.raises(DailyLimitReached), transaction():
            jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, small)
        with transaction():
            for table in ("holds", "daily_spend"):
                session.execute(text(f"UPDATE {table} SET day = day - 1 - :day"), {"day": day})


def test_what_is_released_can_be_spent_again_the_same_day(app, alice, settings):
    small = settings.model_copy(update={"account_daily_credits": 10})
    for _ in range(3):
        with transaction():
            made = jobs.submit(alice, echo.tool, {"copies": 10, "credits": 1}, small)
        with transaction():
            jobs.cancel(made.jobs[0])


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        ({"account_daily_credits": 10**6, "daily_cost_limit_cents": 10**6}, NotEnoughCredits),
        ({"account_daily_credits": 10}, DailyLimitReached),
        ({"account_daily_credits": 10**6, "daily_cost_limit_cents": 10}, DailyLimitReached),
    ],
    ids=["wallet", "account's day", "installation's day"],
)
def test_of_two_hundred_submits_at_once_exactly_ten_are_admitted(app, alice, settings, database, limits, refusal):
    if refusal is NotEnoughCredits:
        _leave(alice, 10)
    limited = settings.model_copy(update=limits)
    outcomes: Counter[type] = Counter()

    def send() -> None:
        with app.app_context():
            try:
                with transaction():
                    jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, limited)
            except NovaiError as refused:
                outcomes[type(refused)] += 1
            else:
                outcomes[Job] += 1

    together([send] * 200)
    assert outcomes == {Job: 10, refusal: 190}
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 10
    assert balance(alice, settings).held == 10


def _leave(account: Account, amount: int) -> None:
    with transaction():
        rest = credits.balance(account, Settings(_env_file=None)).available - amount
        session.execute(
            text("UPDATE wallets SET available = :n WHERE account_id = :id"), {"n": amount, "id": account.id}
        )
        session.execute(
            text("INSERT INTO entries (account_id, kind, delta_available, delta_held, delta_spent, key)"
                 " VALUES (:id, 'adjust', :rest, 0, 0, 'test')"),
            {"id": account.id, "rest": -rest},
        )  # fmt: skip


def together(what: Sequence[Callable[[], object]]) -> None:
    """All at once, as far as the pool of database connections allows. Raises what any of them raises."""
    with ThreadPoolExecutor(max_workers=16) as threads:
        for done in [threads.submit(do) for do in what]:
            done.result()


def test_cancelling_a_batch_while_workers_end_its_jobs_deadlocks_nobody(app, alice, settings, database):
    """An end locks its job, then money; so whoever ends many jobs at once must hold them all before any money."""
    before = _deadlocks(database)

    def drain() -> None:
        with app.app_context():
            while jobs.run_slice("io", open_store(settings), settings):
                pass

    def cancel() -> None:
        with app.app_context(), transaction():
            jobs.cancel_batch(jobs.find_batch(alice.id, batch_id))

    for _ in range(6):
        with transaction():
            made = jobs.submit(alice, echo.tool, {"copies": 30, "per_job": 1, "credits": 1, "lost": [1]}, settings)
        batch_id = made.batch.id
        together([drain, drain, cancel, cancel])
    assert session.scalar(text("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running', 'waiting')")) == 0
    assert _deadlocks(database) == before


def _deadlocks(database: Engine) -> int:
    with database.connect() as connection:
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
        return int(connection.scalar(text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")))


def test_retrying_a_batch_and_its_jobs_at_once_makes_one_job_for_each_and_holds_once(app, alice, settings, database):
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 20, "per_job": 1, "credits": 1, "trouble": "refuse"}, settings)
    ids = [job.id for job in made.jobs]
    while jobs.run_slice("io", open_store(settings), settings):
        pass

    def retry_all() -> None:
        with app.app_context(), transaction():
            jobs.retry_batch(alice, jobs.find_batch(alice.id, made.batch.id), settings)

    def retry_each() -> None:
        for job_id in reversed(ids):
            with app.app_context(), transaction():
                jobs.retry(alice, jobs.find(alice.id, job_id), settings)

    before = _deadlocks(database)
    together([retry_each, retry_all, retry_each])
    assert session.scalar(text("SELECT count(*) FROM jobs WHERE retry_of_id IS NOT NULL")) == 20
    assert balance(alice, settings).held == 20 and _deadlocks(database) == before
