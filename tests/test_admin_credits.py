"""Everybody's credits as an administrator sees them, and each way to move them by hand: with a reason, and once."""

import html
import re
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web import credits, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants, reports
from novai_web.db import session, transaction
from novai_web.jobs import Job
from novai_web.tools import echo
from tests.test_credits_pages import words


@pytest.fixture(autouse=True)
def _books_are_right(app: Flask) -> Iterator[None]:
    yield
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def page(client: FlaskClient, charlie: Account, sign_in: Callable[..., None]) -> FlaskClient:
    """A browser in which Charlie, the administrator, is signed in."""
    sign_in(client, charlie)
    return client


@pytest.fixture
def paid(alice: Account, settings: Settings, work: Callable[[], None]) -> Job:
    """A job of Alice's that delivered 3 of 4 and was charged 15."""
    with transaction():
        (job,) = jobs.submit(alice, echo.tool, {"copies": 4, "credits": 5, "lost": [1]}, settings).jobs
    work()
    return job


def available(account: Account, settings: Settings) -> int:
    session.rollback()
    session.expire_all()
    return credits.balance(account, settings).available


def change(page: FlaskClient, account: Account, what: str, **form: object) -> TestResponse:
    return page.post(f"/admin/credits/{account.id}/{what}", data=form)


def people(page: FlaskClient, where: str) -> list[str]:
    """The names in the table, in its order."""
    rows = re.findall(r'<a class="person"[^>]*><span[^>]*><bdi>([^<]+)</bdi>', page.get(where).text)
    return [html.unescape(name) for name in rows]


def crowd(settings: Settings, count: int) -> None:
    with transaction():
        for n in range(count):
            person = Account(email=f"p{n:03}@crowd.example", name=f"Person {n:03}", role="user", password_hash="-")
            session.add(person)
            session.flush()
            credits.open_wallet(person, granted=n)


# --- The list ------------------------------------------------------------------------------------------------------


def test_an_administrator_sees_everybodys_balance_holds_day_and_limit(page, alice, bob, settings):
    with transaction():
        session.get_one(Account, bob.id).daily_credits = 77
        jobs.submit(alice, echo.tool, {"copies": 4, "credits": 5}, settings)
    said = words(page.get("/admin/credits").text)
    assert "Alice Owner alice@example.com just now 980 20 20 1,000 Bob" in said
    assert "Bob Stranger bob@example.com just now 1,000 0 0 77 its own" in said
    assert "Accounts 3" in said and "Credits of all 2,980" in said and "Spent or held today 20" in said


def test_people_are_found_by_name_or_e_mail_and_sorted(page, alice, bob, charlie, settings):
    crowd(settings, 3)
    assert people(page, "/admin/credits?q=ALICE") == ["Alice Owner"]
    assert people(page, "/admin/credits?q=crowd+002") == ["Person 002"]
    assert people(page, "/admin/credits?q=100%25") == []
    assert "Nobody’s name or e-mail fits this search." in words(page.get("/admin/credits?q=nobody%00").text)
    assert people(page, "/admin/credits") == [
        "Alice Owner", "Bob Stranger", "Charlie Admin", "Person 000", "Person 001", "Person 002",
    ]  # fmt: skip
    assert people(page, "/admin/credits?sort=-joined")[0] == "Person 002"
    assert people(page, "/admin/credits?sort=-credits")[-3:] == ["Person 002", "Person 001", "Person 000"]
    with transaction():
        jobs.submit(bob, echo.tool, {"copies": 4, "credits": 5}, settings)
    assert people(page, "/admin/credits?sort=-today")[0] == "Bob Stranger"


@pytest.mark.parametrize(
    "sort", ["name", "-name", "joined", "-joined", "credits", "-credits", "-held", "today", "-today", "-limit"]
)
def test_a_long_list_is_read_page_by_page_and_asks_no_more(page, settings, queries, sort):
    def asked(where: str) -> tuple[TestResponse, int]:
        with queries() as said:
            answer = page.get(where)
        return answer, len(said)

    _, few = asked(f"/admin/credits?sort={sort}")
    crowd(settings, 130)
    seen: list[str] = []
    where = f"/admin/credits?sort={sort}"
    while where:
        seen += people(page, where)
        answer, count = asked(where)
        assert count <= few <= 14
        following = re.search(r'data-more href="([^"]+)"', answer.text)
        where = html.unescape(following[1]) if following else ""
    assert len(seen) == len(set(seen)) == 131
    assert page.get("/admin/credits?cursor=nonsense").status_code == 422


def test_the_installations_day_warns_like_ones_own(make_app, charlie, alice, sign_in, settings):
    small = settings.model_copy(update={"daily_cost_limit_cents": 100})
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 71, "credits": 1}, small)
    client = make_app(daily_cost_limit_cents=100).test_client()
    sign_in(client, charlie)
    said = words(client.get("/admin/credits").text)
    assert "71 % of the installation’s limit for today is spent or held. 29 credits are left" in said


def test_what_people_are_called_is_text_and_nothing_else(page, alice):
    with transaction():
        session.get_one(Account, alice.id).name = "<script>alert(1)</script>"
    for where in ("/admin/credits", f"/admin/credits/{alice.id}"):
        said = page.get(where).text
        assert "&lt;script&gt;alert(1)" in said and "<script>alert" not in said


# --- By hand -------------------------------------------------------------------------------------------------------


def test_credits_are_given_with_a_reason_that_their_owner_reads(page, client, alice, charlie, settings, sign_in):
    answer = change(page, alice, "grants", amount="250", reason="For the beta")
    assert answer.status_code == 303 and answer.headers["Location"].endswith(f"/admin/credits/{alice.id}")
    assert available(alice, settings) == 1250
    said = words(page.get(f"/admin/credits/{alice.id}").text)
    assert "Alice Owner has 250 credits more." in said
    assert "Given by an administrator: For the beta by Charlie Admin" in said
    sign_in(client, alice)
    mine = words(client.get("/credits").text)
    assert "Given by an administrator: For the beta" in mine and "Charlie" not in mine


def test_undo_takes_back_what_was_given_once(page, alice, settings):
    change(page, alice, "grants", amount="250", reason="Oops")
    toast = page.get(f"/admin/credits/{alice.id}").text.partition("data-toast")[2]
    undo = re.search(r'<form method="post" action="(/admin/credits/\d+/adjustments)"(.*?)</form>', toast, re.DOTALL)
    assert undo
    fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', undo[2]))
    for _ in range(2):
        assert page.post(undo[1], data=fields).status_code == 303
        assert available(alice, settings) == 1000


def test_the_same_form_sent_twice_moves_credits_once(page, alice, settings):
    for _ in range(2):
        change(page, alice, "grants", amount="250", reason="Once", form_key="k")
    assert available(alice, settings) == 1250
    other = change(page, alice, "grants", amount="300", reason="Once", form_key="k")
    assert other.status_code == 422 and "sent before with something else in it" in other.text
    assert available(alice, settings) == 1250


def test_a_balance_is_corrected_in_both_directions_and_never_below_nothing(page, alice, settings):
    assert change(page, alice, "adjustments", amount="−400", reason="Counted twice").status_code == 303
    assert available(alice, settings) == 600
    assert change(page, alice, "adjustments", amount="+50", reason="A little too much").status_code == 303
    assert available(alice, settings) == 650
    answer = change(page, alice, "adjustments", amount="-651", reason="All of it")
    assert answer.status_code == 422 and "650" in words(answer.text) and 'value="-651"' in answer.text
    assert available(alice, settings) == 650


def test_a_daily_limit_is_set_taken_away_and_explained(page, client, alice, settings, sign_in):
    assert change(page, alice, "limit", limit="5", reason="Too fast").status_code == 303
    session.expire_all()
    assert session.get_one(Account, alice.id).daily_credits == 5
    assert "Alice Owner may spend 5 credits a day." in words(page.get("/admin/credits").text)
    assert change(page, alice, "limit", limit="", reason="As before").status_code == 303
    session.expire_all()
    assert session.get_one(Account, alice.id).daily_credits is None
    sign_in(client, alice)
    said = words(client.get("/credits").text)
    assert "Too fast" in said and "As before" in said
    assert available(alice, settings) == settings.starting_credits


def test_a_job_is_paid_back_once(page, alice, paid, settings):
    assert available(alice, settings) == 985
    linked = page.get(f"/admin/credits/{alice.id}").text
    assert f'href="/admin/credits/{alice.id}?job={paid.id}&amp;change=refund#refund"' in linked
    assert re.search(
        rf'name="job" value="{paid.id}"', page.get(f"/admin/credits/{alice.id}?job={paid.id}&change=refund").text
    )
    for said in ("15 credits of “Echo” paid back to Alice Owner.", "Nothing was moved"):
        assert change(page, alice, "refunds", job=paid.id, reason="It was silent").status_code == 303
        assert said in words(page.get(f"/admin/credits/{alice.id}").text)
        assert available(alice, settings) == 1000
    assert "Paid back by an administrator for “Echo”: It was silent" in words(
        page.get(f"/admin/credits/{alice.id}?show=charged").text
    )
    assert credits.balance(alice, settings).spent_today == 0


def test_what_was_paid_back_is_no_longer_counted_as_spent(page, client, alice, paid, sign_in):
    assert (reports.by_day(alice.id)[-1].credits, reports.by_tool(alice.id)[0].charged) == (15, 15)
    change(page, alice, "refunds", job=paid.id, reason="It was silent")
    assert (reports.by_day(alice.id)[-1].credits, reports.by_tool(alice.id)[0].charged) == (0, 0)
    sign_in(client, alice)
    assert " 0 in 30 days" in words(client.get("/credits").text)
    assert "Paid back by an administrator" in words(client.get(f"/jobs/{paid.id}").text)


def test_anothers_job_and_no_job_cannot_be_paid_back(page, alice, bob, paid, settings):
    for account, number in ((bob, paid.id), (alice, 999_999_999), (alice, "x"), (alice, "")):
        answer = change(page, account, "refunds", job=number, reason="Please")
        assert answer.status_code == 422, number
    assert available(alice, settings) == 985 and available(bob, settings) == 1000


WRONG = ["", "x", "0", "1.5", "1e3", "NaN", "٣", "1_000", "9" * 18, "9" * 40, "--5", "+", "5\0"]


@pytest.mark.parametrize("amount", [*WRONG, "-5"])
def test_a_wrong_amount_moves_nothing_and_keeps_what_was_typed(page, alice, settings, amount):
    answer = change(page, alice, "grants", amount=amount, reason="Because I can")
    assert answer.status_code == 422 and "Because I can" in answer.text and 'aria-invalid="true"' in answer.text
    assert available(alice, settings) == settings.starting_credits


@pytest.mark.parametrize(
    ("what", "form"),
    [("grants", {"amount": "5"}), ("adjustments", {"amount": "-5"}), ("limit", {"limit": "5"}), ("refunds", {})],
)
@pytest.mark.parametrize("reason", ["", "  ", "x" * 1001, "\0\x07"])
def test_nothing_is_moved_without_a_reason_that_can_be_read(page, alice, paid, settings, what, form, reason):
    given = form or {"job": paid.id}
    answer = change(page, alice, what, **given, reason=reason)
    assert answer.status_code == 422 and re.search(r'id="\w+-reason-error"', answer.text)
    session.expire_all()
    assert available(alice, settings) == 985 and session.get_one(Account, alice.id).daily_credits is None


def test_a_reason_is_kept_as_one_plain_line(page, alice):
    assert change(page, alice, "grants", amount="5", reason=" For\r\nthe\0 beta\x07 ").status_code == 303
    assert session.scalar(text("SELECT note FROM entries WHERE note IS NOT NULL")) == "For the beta"


@pytest.mark.parametrize("limit", ["-1", "x", "9" * 18, "1.5"])
def test_a_wrong_limit_changes_nothing(page, alice, limit):
    assert change(page, alice, "limit", limit=limit, reason="Because").status_code == 422
    session.expire_all()
    assert session.get_one(Account, alice.id).daily_credits is None


def test_a_change_without_the_token_of_the_page_moves_nothing(page, alice, settings):
    page.environ_base.pop("HTTP_X_CSRFTOKEN")
    assert change(page, alice, "grants", amount="5", reason="Forged").status_code == 400
    assert available(alice, settings) == settings.starting_credits


@pytest.mark.parametrize("what", ["grants", "adjustments", "limit", "refunds"])
def test_nobody_gives_credits_to_themselves_or_others(client, alice, bob, settings, sign_in, what):
    sign_in(client, alice)
    for account in (alice, bob):
        assert change(client, account, what, amount="5", limit="5", job="1", reason="Mine").status_code == 404
        assert available(account, settings) == settings.starting_credits
    assert session.scalar(text("SELECT count(*) FROM entries WHERE key NOT LIKE 'grant:opening:%'")) == 0
