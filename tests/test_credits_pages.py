"""Your credits as a page and over JSON: every credit explained, what it went on, and what a card says of it."""

import html
import re
from collections.abc import Callable, Iterator
from datetime import date
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, event, text

from novai_web import credits, jobs
from novai_web.accounts import Account, passwords
from novai_web.config import Settings
from novai_web.credits import exporting, invariants, reports
from novai_web.credits.reports import Day
from novai_web.db import session, transaction
from novai_web.jobs import Job, State
from novai_web.pages import charts, wording
from novai_web.pages.credits import warning
from novai_web.tools import echo


@pytest.fixture
def page(client: FlaskClient, alice: Account, sign_in: Callable[..., None]) -> FlaskClient:
    """A browser in which Alice is signed in."""
    sign_in(client, alice)
    return client


@pytest.fixture
def start(alice: Account, settings: Settings) -> Callable[..., list[Job]]:
    def start(**given: object) -> list[Job]:
        with transaction():
            return list(jobs.submit(alice, echo.tool, given, settings).jobs)

    return start


@pytest.fixture
def books_are_right(app: Flask) -> Iterator[None]:
    yield
    session.rollback()
    assert invariants.broken() == {}


def words(page: str) -> str:
    """What a person reads of a page, without its tags."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split()).replace("“ ", "“").replace(" ”", "”")


def many_entries(account: Account, count: int) -> None:
    """So many entries that it takes pages, as quickly as the database writes them; the wallet says the same."""
    with transaction():
        session.execute(
            text("INSERT INTO entries (account_id, kind, delta_available, delta_held, delta_spent, key)"
                 " SELECT :id, 'adjust', n, 0, 0, gen_random_uuid() FROM generate_series(1, :count) AS n"),
            {"id": account.id, "count": count},
        )  # fmt: skip
        session.execute(
            text("UPDATE wallets SET available = available + :sum WHERE account_id = :id"),
            {"id": account.id, "sum": count * (count + 1) // 2},
        )


# --- The page ------------------------------------------------------------------------------------------------------


def test_a_page_of_credits_is_there_before_anything_happened(client, app, settings, sign_in):
    with transaction():
        poor = Account(email="p@example.com", name="P", role="user", password_hash=passwords.hashed("x" * 10, settings))
        session.add(poor)
        session.flush()
        credits.open_wallet(poor, granted=0)
    sign_in(client, poor)
    said = words(client.get("/credits").text)
    assert "You have no credits left." in said and "ask an administrator" in said
    assert "Nothing has moved yet." in said and "Nothing that costs credits was started in the last 30 days." in said
    assert "No entries of this kind." in words(client.get("/credits?show=charged").text)


def test_every_entry_has_a_sentence_the_way_to_its_job_and_the_balance_after_it(
    page, start, work, alice, settings, books_are_right
):
    (job,) = start(copies=4, credits=5, lost=[1])
    said = words(page.get("/credits").text)
    assert "Held for “Echo”, which cannot cost more than this." in said and "−20 980" in said
    work()
    answer = page.get("/credits").text
    said = words(answer)
    assert "Charged for “Echo”: 3 of 4 results delivered." in said and "15 of the held 980" in said
    assert "Given back for what “Echo” did not deliver: 1 of 4 results." in said and "+5 985" in said
    assert "Your first credits." in said and "+1,000 1,000" in said
    assert answer.count(f'href="/batches/{job.batch_id}"') == 3


@pytest.mark.parametrize(
    ("given", "end", "sentence"),
    [({"trouble": "refuse"}, None, "Given back: “Echo” failed and costs nothing."),
     ({}, jobs.cancel, "Given back: “Echo” was cancelled and costs nothing."),
     ({"copies": 1}, None, "Charged for “Echo”, which delivered."),
     ({"copies": 3}, None, "Charged for “Echo”: all 3 results delivered.")],
)  # fmt: skip
def test_each_end_of_a_job_is_explained_in_its_own_words(page, start, work, given, end, sentence):
    (job,) = start(**{"copies": 2, "credits": 5} | given)
    if end:
        with transaction():
            end(job)
    work()
    assert sentence in words(page.get("/credits").text)


def test_nobody_sees_anothers_entries(page, client, start, alice, bob, as_bob, sign_in):
    start(copies=2, credits=7)
    newest = session.scalar(text("SELECT max(id) FROM entries"))
    sign_in(client, bob)
    assert "Held for" not in words(client.get("/credits").text)
    assert "Held for" not in words(client.get(f"/credits?cursor={newest + 1}").text)
    found = client.get("/api/v1/credits/entries", headers=as_bob).json["items"]
    assert {entry["kind"] for entry in found} == {"grant"}


def test_the_balance_goes_on_from_page_to_page(page, alice, settings, books_are_right):
    many_entries(alice, 120)
    seen: list[tuple[int, int]] = []
    where = "/credits"
    while where:
        answer = page.get(where).text
        rows = re.findall(r'<tr data-item id="entry-\d+">(.*?)</tr>', answer, re.DOTALL)
        seen += [tuple(int(n.replace(",", "")) for n in re.findall(r"\+?([\d,]+)", words(row))[-2:]) for row in rows]
        following = re.search(r'data-more href="([^"]+)"', answer)
        where = html.unescape(following[1]) if following else ""
    assert len(seen) == 121
    assert seen[0][1] == credits.balance(alice, settings).available
    for (change, after), (_, before) in pairwise(seen):
        assert after == before + change
    assert seen[-1] == (settings.starting_credits, settings.starting_credits)


def test_entries_can_be_narrowed_to_what_was_charged_held_or_added(page, start, work, client, as_alice):
    start(copies=2, credits=5, lost=[0])
    work()
    kinds = {
        show: {
            entry["kind"]
            for entry in client.get(f"/api/v1/credits/entries?show={show}", headers=as_alice).json["items"]
        }
        for show in ("", "charged", "held", "added")
    }
    assert kinds == {
        "": {"grant", "reserve", "capture", "release"},
        "charged": {"capture"},
        "held": {"reserve", "release"},
        "added": {"grant"},
    }
    said = page.get("/credits?show=charged").text
    assert "Charged for" in said and "Held for" not in said and 'aria-current="page">Charged' in said
    assert page.get("/credits?show=nonsense&cursor=x").status_code == 200


def test_the_page_asks_the_database_as_often_whatever_there_is(page, start, work, alice, queries):
    def asked(where: str) -> int:
        with queries() as said:
            assert page.get(where).status_code == 200
        return len(said)

    (job,) = start(copies=1, credits=1)
    wheres = ("/credits", "/credits?show=held", f"/jobs/{job.id}")
    few = {where: asked(where) for where in wheres}
    for _ in range(12):
        start(copies=4, credits=1, per_job=2)
    work()
    many_entries(alice, 60)
    for where in wheres:
        assert asked(where) <= few[where] <= 14, where


@pytest.mark.parametrize(
    "ask",
    [lambda account: reports.entries(account.id), lambda account: reports.entries(account.id, show="held"),
     lambda account: reports.entries(account.id, before=10**9), lambda account: reports.of_job(7),
     lambda account: list(exporting.of_account(account.id)),
     lambda account: list(exporting.of_everybody(date(2020, 1, 1), date(2020, 1, 2)))],
    ids=["all", "held", "next page", "of a job", "CSV", "everybody's CSV"],
)  # fmt: skip
def test_a_list_of_entries_reads_an_index_and_not_the_whole_table(app, alice, bob, ask):
    many_entries(alice, 20_000)
    many_entries(bob, 200)
    with transaction():
        session.execute(text("ANALYZE entries"))
    for plan in plans(lambda: ask(bob)):
        assert "Seq Scan on entries" not in plan and "Index" in plan, plan


def plans(ask: Callable[[], object]) -> list[str]:
    """How Postgres goes about each statement that `ask` sends."""
    asked: list[tuple[str, Any]] = []

    def hear(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", hear)
    try:
        ask()
    finally:
        event.remove(Engine, "before_cursor_execute", hear)
    found = [session.connection().exec_driver_sql(f"EXPLAIN {statement}", given) for statement, given in asked]
    return ["\n".join(rows.scalars()) for rows in found]


# --- What it went on -----------------------------------------------------------------------------------------------


def test_days_and_tools_add_up_to_the_same(start, work, alice, books_are_right):
    start(copies=4, credits=5, lost=[1])
    work()
    start(copies=2, credits=3)
    (refused,) = start(copies=2, credits=3, trouble="refuse")
    assert refused.price == 6
    days, tools = reports.by_day(alice.id), reports.by_tool(alice.id)
    assert len(days) == 30 and days[-1].credits == 15 + 6 + 6 and sum(day.credits for day in days) == 27
    (one,) = tools
    assert (one.jobs, one.charged, one.held, one.made) == (3, 15, 12, 3)
    assert reports.everybody_by_day()[-1].credits == 27


def test_the_cost_of_a_kept_result_is_that_of_all_that_was_charged(page, start, work, alice, client, as_alice):
    (job,) = start(copies=4, credits=5, lost=[1])
    work()
    assert reports.by_tool(alice.id)[0].per_kept is None  # what may still expire is not kept
    page.post(f"/batches/{job.batch_id}/keep", data={"n": ["0", "2"]})
    assert reports.by_tool(alice.id)[0].per_kept == 7.5
    assert "For each kept result 7.5" in words(page.get("/credits").text)
    found = client.get("/api/v1/credits/spending?days=7", headers=as_alice).json
    assert len(found["days"]) == 7 and found["days"][-1]["credits"] == 15
    assert found["tools"] == [
        {"tool": "echo", "jobs": 1, "charged": 15, "held": 0, "made": 3, "kept": 2, "per_kept": 7.5}
    ]


def test_a_chart_has_its_numbers_in_a_table_too(page, start):
    start(copies=3, credits=4)
    said = page.get("/credits").text
    assert 'role="img"' in said and "12 in all, the most on" in said
    table = said[said.index("As a table") :]
    assert len(re.findall(r'<tr><td>[^<]+</td><td class="right">[\d,]+</td></tr>', table)) == 30


@pytest.mark.parametrize(
    ("most", "top"),
    [
        (0, 1),
        (1, 1),
        (7, 7),
        (10, 10),
        (11, 15),
        (99, 100),
        (101, 150),
        (220, 250),
        (340, 400),
        (999, 1000),
        (1001, 1500),
    ],
)
def test_a_chart_ends_at_a_round_number_above_its_bars(most: int, top: int) -> None:
    chart = charts.by_day([Day(date(2026, 11, day), credits) for day, credits in ((1, 0), (2, most))])
    assert chart.top == top
    assert chart.bars[0].height == 0
    assert all(0 <= bar.y <= chart.height and bar.y + bar.height == chart.height for bar in chart.bars)


# --- The day's limit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "limit", "tone"),
    [(0, 100, None), (69, 100, None), (70, 100, "waiting"), (89, 100, "waiting"), (90, 100, "failed"),
     (100, 100, "failed"), (120, 100, "failed"), (0, 0, "failed")],
)  # fmt: skip
def test_seven_and_nine_tenths_of_a_limit_are_said(spent: int, limit: int, tone: str | None) -> None:
    assert warning(spent, limit) == tone


@pytest.mark.parametrize(
    ("copies", "sentence"),
    [(6, None), (7, "70 % of your limit for today is spent or held. 3 credits are left until midnight UTC"),
     (9, "90 % of your limit for today is spent or held. 1 credit is left"),
     (10, "Today’s limit is reached: 10 of 10 credits are spent or held.")],
)  # fmt: skip
def test_a_page_warns_before_the_limit_of_the_day_is_reached(make_app, alice, sign_in, settings, copies, sentence):
    small = settings.model_copy(update={"account_daily_credits": 10})
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": copies, "credits": 1}, small)
    client = make_app(account_daily_credits=10).test_client()
    sign_in(client, alice)
    said = words(client.get("/credits").text)
    assert sentence in said if sentence else "of your limit" not in said


# --- Over JSON -----------------------------------------------------------------------------------------------------


def test_the_api_says_the_balance_and_explains_each_entry(client, start, work, as_alice, settings):
    (job,) = start(copies=4, credits=5, lost=[1])
    work()
    balance = client.get("/api/v1/credits/balance", headers=as_alice).json
    assert balance.pop("day_ends_at").endswith("T00:00:00Z")
    assert balance == {"available": 985, "held": 0, "spent_today": 15, "daily_limit": settings.account_daily_credits}
    items = client.get("/api/v1/credits/entries", headers=as_alice).json["items"]
    moved = ("kind", "available", "held", "spent", "balance")
    assert [tuple(entry[name] for name in moved) for entry in items] == [
        ("release", 5, -5, 0, 985), ("capture", 0, -15, 15, 980), ("reserve", -20, 20, 0, 980),
        ("grant", 1000, 0, 0, 1000),
    ]  # fmt: skip
    assert items[1]["explanation"] == "Charged for “Echo”: 3 of 4 results delivered."
    assert (items[1]["job_id"], items[1]["batch_id"], items[1]["tool"]) == (job.id, job.batch_id, "echo")


def test_the_api_hands_out_entries_page_by_page(client, alice, as_alice):
    many_entries(alice, 30)
    seen, cursor = [], ""
    while cursor is not None:
        found = client.get(f"/api/v1/credits/entries?limit=7&cursor={cursor}", headers=as_alice).json
        seen += [entry["id"] for entry in found["items"]]
        cursor = found["next_cursor"]
    assert len(seen) == 31 and seen == sorted(seen, reverse=True)
    for wrong in ("show=all", "cursor=0", "cursor=99999999999999999999", "limit=0", "limit=201", "cursor=x"):
        assert client.get(f"/api/v1/credits/entries?{wrong}", headers=as_alice).status_code == 422, wrong
    assert client.get("/api/v1/credits/spending?days=0", headers=as_alice).status_code == 422


# --- What cards and the page of a job say --------------------------------------------------------------------------


def a_job(**given: object) -> Job:
    whole: dict[str, object] = {"price": 12, "charged": 0, "promised": 4, "delivered": 0, "state": State.FAILED}
    return Job(**(whole | {"is_retried": False} | given))


@pytest.mark.parametrize(
    ("job", "cost", "bill"),
    [
        (a_job(price=0, state=State.SUCCEEDED), "", "Free."),
        (a_job(state=State.RUNNING), "held 12",
         "12 credits held. It cannot cost more, and only what is delivered is charged."),
        (a_job(state=State.SUCCEEDED, charged=12, delivered=4), "charged 12", "Charged 12 credits for 4 of 4 results."),
        (a_job(state=State.SUCCEEDED, charged=9, delivered=3), "charged 9 of 12",
         "Charged 9 credits for 3 of 4 results. The 3 other held credits are yours again."),
        (a_job(state=State.FAILED), "not charged",
         "Not charged because it failed. The 12 held credits are yours again."),
        (a_job(state=State.CANCELLED, price=1), "not charged",
         "Not charged because it was cancelled. The 1 held credit is yours again."),
    ],
)  # fmt: skip
def test_what_a_job_costs_is_said_in_few_words_and_in_full(job: Job, cost: str, bill: str) -> None:
    assert (wording.cost(job), wording.bill(job)) == (cost, bill)


def test_what_failed_is_followed_by_what_to_do() -> None:
    assert "few minutes" in wording.advice(a_job(error="The vendor is away.", error_code="unavailable"))
    assert "Change what goes into it" in wording.advice(a_job(error="It stops workers.", error_code="poison"))
    assert "Retry" in wording.advice(a_job(error="No.", error_code="tool_failed"))
    assert wording.advice(a_job(error="No.", is_retried=True)) == "It was started once more."
    assert wording.advice(a_job(state=State.CANCELLED, error="You stopped it.")) == ""
    assert wording.advice(a_job(state=State.RUNNING, error=None)) == ""


@pytest.mark.parametrize(
    ("given", "words_of_card"),
    [({"lost": [1]}, ["1 of 4 could not be made.", "Retry makes only what is missing.", "charged 15 of 20"]),
     ({"trouble": "refuse"}, ["There was nothing to hear.", "Retry starts it once more", "not charged"]),
     ({}, ["charged 20"])],
)  # fmt: skip
def test_a_card_says_what_was_charged_why_it_failed_and_what_to_do(page, start, work, given, words_of_card):
    (job,) = start(copies=4, credits=5, **given)
    before = words(page.get("/jobs").text)
    assert "Waiting for its turn" in before and "held 20" in before
    work()
    said = words(page.get("/jobs").text)
    for part in words_of_card:
        assert part in said
    bill = words(page.get(f"/jobs/{job.id}").text)
    assert "Held for “Echo”" in bill and wording.bill(jobs.find(job.account_id, job.id)) in bill


def test_the_balance_and_the_account_menu_lead_to_the_page(page, client, charlie, sign_in):
    mine = page.get("/").text
    assert re.search(r'<a class="credits" href="/credits"', mine)
    assert re.search(r'<a class="menu-item" href="/credits"', mine) and "/admin/credits" not in mine
    sign_in(client, charlie)
    assert '<a class="menu-item" href="/admin/credits"' in client.get("/").text


def test_a_sentence_never_lacks_for_an_entry_that_the_database_allows(app) -> None:
    rule = session.scalar(text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_entries_kind'"))
    kinds = set(re.findall(r"'(\w+)'", rule))
    assert {"grant", "refund"} <= kinds
    for kind in kinds:
        row = SimpleNamespace(
            id=1, account_id=1, at=None, kind=kind, key="k", note=None, by_name=None, by_email=None,
            delta_available=1, delta_held=0, delta_spent=0, job_id=None,
        )  # fmt: skip
        said = str(reports.line(row).said)
        assert said.endswith(".") and "None" not in said
