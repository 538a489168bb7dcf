"""Credits that somebody moves by hand: given, taken, paid for, given back; each once, and each explained."""

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text

from novai_web import credits, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.errors import DailyLimitReached, IdempotencyMismatch, InvalidInput, NovaiError
from novai_web.jobs import Job
from novai_web.tools import echo
from tests.test_credits import _deadlocks, balance, together


@pytest.fixture(autouse=True)
def _books_are_right(app: Flask) -> Iterator[None]:
    yield
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def paid(app: Flask, alice: Account, settings: Settings, work: Callable[[], None]) -> Callable[..., Job]:
    """`paid(copies=2, credits=5)`: a job of Alice's that is over."""

    def start(**given: Any) -> Job:
        with transaction():
            (job,) = jobs.submit(alice, echo.tool, given, settings).jobs
        work()
        session.expire_all()
        return session.get_one(Job, job.id)

    return start


def last_entry() -> Any:
    return session.execute(text("SELECT * FROM entries ORDER BY id DESC LIMIT 1")).one()


def entries_count() -> int:
    return session.scalar(text("SELECT count(*) FROM entries")) or 0


def at_once(app: Flask, *moves: Callable[[], object]) -> list[object]:
    """All at the same time, each in a session and a transaction of its own. What is refused is among the answers."""
    for known in session:
        session.refresh(known)  # the threads share these objects, and only read what is loaded
    session.commit()
    answers: list[object] = []

    def do(move: Callable[[], object]) -> None:
        try:
            with app.app_context(), transaction():
                answer = move()
        except NovaiError as refused:
            answer = type(refused)
        answers.append(answer)

    together([partial(do, move) for move in moves])
    return answers


# --- Given and taken -----------------------------------------------------------------------------------------------


def test_what_is_granted_is_there_and_says_who_gave_it_and_why(alice, charlie, settings):
    before = balance(alice, settings).available
    with transaction():
        credits.grant(alice, 250, by=charlie, reason="  for \n the\0 demo\ud800 ")
    assert balance(alice, settings).available == before + 250
    entry = last_entry()
    assert (entry.kind, entry.delta_available, entry.by_id, entry.note) == ("grant", 250, charlie.id, "for the demo")


def test_an_adjustment_gives_or_takes(alice, charlie, settings):
    before = balance(alice, settings).available
    for delta in (40, -15):
        with transaction():
            credits.adjust(alice, delta, by=charlie, reason="a correction")
    assert balance(alice, settings).available == before + 25
    assert (last_entry().kind, last_entry().delta_available) == ("adjust", -15)


def test_nobody_is_left_with_less_than_nothing(alice, charlie, settings):
    before, entries = balance(alice, settings), entries_count()
    with pytest.raises(InvalidInput) as refused, transaction():
        credits.adjust(alice, -before.available - 1, by=charlie, reason="too much")
    assert f"only {before.available:,} credits" in refused.value.fields["amount"]
    assert balance(alice, settings) == before and entries_count() == entries


def test_what_is_held_for_jobs_cannot_be_taken(alice, charlie, settings):
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1, "credits": 900}, settings)
    with pytest.raises(InvalidInput), transaction():
        credits.adjust(alice, -200, by=charlie, reason="more than is free")
    with transaction():
        credits.adjust(alice, -100, by=charlie, reason="just what is free")
    assert (balance(alice, settings).available, balance(alice, settings).held) == (0, 900)


def test_of_two_hundred_takers_at_once_exactly_ten_find_a_credit(app, alice, charlie, settings):
    with transaction():
        credits.adjust(alice, 10 - settings.starting_credits, by=charlie, reason="leave ten")
    answers = at_once(app, *[lambda: credits.adjust(alice, -1, by=charlie, reason="one")] * 200)
    assert (answers.count(None), answers.count(InvalidInput)) == (10, 190)
    assert balance(alice, settings).available == 0


def test_a_form_that_is_sent_twice_gives_once(app, alice, charlie, settings):
    before = balance(alice, settings).available
    at_once(app, *[lambda: credits.grant(alice, 5, by=charlie, reason="a gift", key="form-1")] * 20)
    at_once(app, *[lambda: credits.adjust(alice, -2, by=charlie, reason="a correction", key="form-1")] * 20)
    assert balance(alice, settings).available == before + 3
    with transaction():
        credits.grant(alice, 5, by=charlie, reason="a gift", key="form-2")
    assert balance(alice, settings).available == before + 8


def test_a_key_that_is_used_again_for_something_else_is_refused(alice, bob, charlie, settings):
    with transaction():
        credits.grant(alice, 5, by=charlie, reason="a gift", key="k")
    for account, amount in ((alice, 6), (bob, 5)):
        with pytest.raises(IdempotencyMismatch), transaction():
            credits.grant(account, amount, by=charlie, reason="a gift", key="k")
    with transaction():
        credits.grant(alice, 5, by=bob, reason="the same key of another person", key="k")
    assert balance(alice, settings).available == settings.starting_credits + 10


@pytest.mark.parametrize("amount", [0, -1, 10**9 + 1, 10**30])
def test_an_amount_that_makes_no_sense_moves_nothing(alice, charlie, amount):
    before = entries_count()
    with pytest.raises(InvalidInput) as refused, transaction():
        credits.grant(alice, amount, by=charlie, reason="nonsense")
    assert set(refused.value.fields) == {"amount"} and entries_count() == before


@pytest.mark.parametrize("delta", [0, 10**9 + 1, -(10**9) - 1])
def test_an_adjustment_that_makes_no_sense_moves_nothing(alice, charlie, delta):
    with pytest.raises(InvalidInput), transaction():
        credits.adjust(alice, delta, by=charlie, reason="nonsense")


@pytest.mark.parametrize("reason", ["", "  \n\t ", "x" * 201, "\0\a", "\ud800", "\u200b"])
def test_nothing_moves_without_a_reason_that_can_be_read(alice, charlie, paid, reason):
    job = paid(copies=1, credits=5)
    before = entries_count()
    moves: list[Callable[[], object]] = [
        lambda: credits.grant(alice, 1, by=charlie, reason=reason),
        lambda: credits.adjust(alice, 1, by=charlie, reason=reason),
        lambda: credits.set_daily_limit(alice, 1, by=charlie, reason=reason),
        lambda: credits.refund(job, by=charlie, reason=reason),
    ]
    for move in moves:
        with pytest.raises(InvalidInput) as refused, transaction():
            move()
        assert set(refused.value.fields) == {"reason"}
    assert entries_count() == before


# --- Paid for ------------------------------------------------------------------------------------------------------


def test_a_payment_that_is_reported_fifty_times_at_once_counts_once(app, alice, settings):
    before = balance(alice, settings).available
    answers = at_once(app, *[lambda: credits.top_up(alice, 100, "payment-1")] * 50)
    assert (answers.count(True), answers.count(False)) == (1, 49)
    assert balance(alice, settings).available == before + 100
    with transaction():
        assert credits.top_up(alice, 100, "payment-1") is False
        assert credits.top_up(alice, 100, "payment-2") is True
    assert balance(alice, settings).available == before + 200 and last_entry().kind == "topup"


def test_a_payment_is_not_another_persons_and_of_no_other_amount_the_second_time(alice, bob, settings):
    with transaction():
        credits.top_up(alice, 100, "payment-1")
    for account, amount in ((bob, 100), (alice, 1000)):
        with pytest.raises(IdempotencyMismatch), transaction():
            credits.top_up(account, amount, "payment-1")
    assert balance(bob, settings).available == settings.starting_credits


@pytest.mark.parametrize("amount", [0, -5, 10**12])
def test_a_payment_of_a_nonsensical_amount_is_refused(alice, amount):
    with pytest.raises(InvalidInput), transaction():
        credits.top_up(alice, amount, "payment-1")


# --- Given back ----------------------------------------------------------------------------------------------------


def test_what_a_job_was_charged_is_given_back_once_and_its_day_is_relieved(alice, charlie, settings, paid):
    job = paid(copies=4, credits=5, lost=[1])
    before = balance(alice, settings)
    assert (job.charged, before.spent_today) == (15, 15)
    with transaction():
        assert credits.refund(job, by=charlie, reason="it was no good") == 15
    after = balance(alice, settings)
    assert (after.available, after.spent_today) == (before.available + 15, 0)
    entry = last_entry()
    assert (entry.kind, entry.job_id, entry.delta_available, entry.delta_spent) == ("refund", job.id, 15, -15)
    assert (entry.by_id, entry.note) == (charlie.id, "it was no good")
    with transaction():
        assert credits.refund(job, by=charlie, reason="again") == 0
    assert balance(alice, settings) == after


def test_of_twenty_refunds_at_once_one_gives_back(app, alice, charlie, settings, paid):
    job = paid(copies=2, credits=5)
    answers = at_once(app, *[lambda: credits.refund(job, by=charlie, reason="all at once")] * 20)
    assert sorted(answers) == [0] * 19 + [10]
    assert balance(alice, settings).available == settings.starting_credits


@pytest.mark.parametrize("given", [{"credits": 0}, {"credits": 5, "trouble": "refuse"}], ids=["free", "failed"])
def test_what_cost_nothing_gives_nothing_back(alice, charlie, settings, paid, given):
    job = paid(copies=2, **given)
    with transaction():
        assert credits.refund(job, by=charlie, reason="just in case") == 0
    assert balance(alice, settings).available == settings.starting_credits


def test_a_job_that_still_runs_has_nothing_to_give_back(alice, charlie, settings):
    with transaction():
        (job,) = jobs.submit(alice, echo.tool, {"copies": 1, "credits": 5}, settings).jobs
    with transaction():
        assert credits.refund(job, by=charlie, reason="too early") == 0
    assert balance(alice, settings).held == 5


def test_a_refund_relieves_the_day_of_the_spend_and_not_today(alice, charlie, settings, paid):
    job = paid(copies=1, credits=7)
    yesterday = date.today() - timedelta(days=1)
    with transaction():
        for table in ("holds", "daily_spend"):
            session.execute(text(f"UPDATE {table} SET day = :day"), {"day": yesterday})
    paid(copies=1, credits=3)
    with transaction():
        credits.refund(job, by=charlie, reason="yesterday's was no good")
    rows = session.execute(text("SELECT account_id, day, committed FROM daily_spend WHERE account_id > 0"))
    assert {row.day == yesterday: row.committed for row in rows} == {True: 0, False: 3}


def test_what_is_given_back_can_be_spent_again_the_same_day(alice, charlie, settings, paid):
    small = settings.model_copy(update={"account_daily_credits": 10})
    job = paid(copies=10, credits=1)
    with pytest.raises(DailyLimitReached), transaction():
        jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, small)
    with transaction():
        credits.refund(job, by=charlie, reason="sorry")
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 10, "credits": 1}, small)


def test_refunds_submits_and_ends_at_once_deadlock_nobody(app, alice, charlie, settings, paid, work, database):
    over = [paid(copies=1, credits=1) for _ in range(8)]
    before = _deadlocks(database)
    given = {"copies": 4, "per_job": 1, "credits": 1}
    refunds = [partial(credits.refund, job, by=charlie, reason="at once") for job in over]
    submits = [lambda: jobs.submit(alice, echo.tool, given, settings)] * 8
    answers = at_once(app, work, work, *refunds, *submits, work)
    assert answers.count(1) == 8 and _deadlocks(database) == before


# --- The daily limit -----------------------------------------------------------------------------------------------


def test_a_daily_limit_that_is_changed_holds_at_once_and_the_ledger_says_who_did_it(alice, charlie, settings):
    with transaction():
        credits.set_daily_limit(alice, 3, by=charlie, reason="a trial")
    assert balance(alice, settings).daily_limit == 3
    with pytest.raises(DailyLimitReached), transaction():
        jobs.submit(alice, echo.tool, {"copies": 4, "credits": 1}, settings)
    entry = last_entry()
    assert (entry.delta_available, entry.by_id) == (0, charlie.id)
    assert entry.note == "Daily limit the installation's → 3: a trial"
    with transaction():
        credits.set_daily_limit(alice, None, by=charlie, reason="the trial is over")
    assert balance(alice, settings).daily_limit == settings.account_daily_credits
    assert last_entry().note == "Daily limit 3 → the installation's: the trial is over"


@pytest.mark.parametrize("limit", [-1, 10**12])
def test_a_daily_limit_that_makes_no_sense_is_refused(alice, charlie, limit):
    with pytest.raises(InvalidInput) as refused, transaction():
        credits.set_daily_limit(alice, limit, by=charlie, reason="nonsense")
    assert set(refused.value.fields) == {"limit"}


def test_a_limit_below_what_is_spent_stops_the_next_submit_and_breaks_nothing(alice, charlie, settings, paid):
    paid(copies=5, credits=1)
    with transaction():
        credits.set_daily_limit(alice, 2, by=charlie, reason="enough")
    with pytest.raises(DailyLimitReached), transaction():
        jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, settings)
    assert balance(alice, settings).share_of_day == 1.0


def test_of_submits_around_midnight_as_many_are_admitted_on_each_day_as_it_allows(app, alice, settings):
    small = settings.model_copy(update={"account_daily_credits": 10})
    submits = [lambda: jobs.submit(alice, echo.tool, {"copies": 1, "credits": 1}, small)] * 100
    for _ in range(2):
        assert at_once(app, *submits).count(DailyLimitReached) == 90
        with transaction():  # midnight passes
            for table in ("holds", "daily_spend"):
                session.execute(text(f"UPDATE {table} SET day = day - 10000"))
                session.execute(text(f"UPDATE {table} SET day = day + 9999"))
    rows = session.execute(text("SELECT committed FROM daily_spend WHERE account_id = :id"), {"id": alice.id})
    assert [row.committed for row in rows] == [10, 10]
