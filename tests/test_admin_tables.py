"""Tables of administrators: sorted by a column, narrowed by the address, exported; and what they change is undone."""

import csv
import html
import io
import re
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from novai_web import choices, jobs, prices
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.jobs import Job
from novai_web.jobs.runs import Run
from novai_web.tools import echo
from tests.test_admin_credits import crowd
from tests.test_credits_pages import words


@pytest.fixture
def page(client: FlaskClient, charlie: Account, sign_in: Callable[..., None]) -> FlaskClient:
    """A browser in which Charlie, the administrator, is signed in."""
    sign_in(client, charlie)
    return client


@pytest.fixture
def billed(alice: Account, settings: Settings, work: Callable[[], None]) -> None:
    """Three bills: of fal, of Gemini, and of the sandbox."""
    for n, (vendor, model, microusd, price, is_sandbox) in enumerate(
        (
            ("fal", "swap", 150_000, 20, False),
            ("gemini", "=draw", 40_000, 30, False),
            ("fal", "swap", 9_000_000, 1, True),
        )
    ):
        with transaction():
            (job,) = jobs.submit(alice, echo.tool, {"copies": 1, "credits": price}, settings).jobs
        work()
        given = {"state": "done", "request": "r", "external_id": f"x{n}", "marker": f"m{n}", "is_sandbox": is_sandbox}
        with transaction():
            session.add(Run(job_id=job.id, n=1, vendor=vendor, model=model, cost_microusd=microusd, **given))


def undo(page: FlaskClient, where: str) -> None:
    """Press Undo in the newest toast of that page."""
    toasts = page.get(where).text.rpartition("data-toast")[2]
    found = re.search(r'<form method="post" action="([^"]+)"(.*?)</form>', toasts, re.DOTALL)
    assert found, toasts[:500]
    fields = re.findall(r'name="([^"]+)" value="([^"]*)"', found[2])
    answer = page.post(html.unescape(found[1]), data={name: html.unescape(value) for name, value in fields})
    assert answer.status_code == 303


def read(page: FlaskClient, where: str) -> list[list[str]]:
    """The rows of an export, its head first."""
    answer = page.get(where)
    assert answer.status_code == 200 and answer.content_type == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"] and answer.text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(answer.text.removeprefix("\ufeff"))))


# --- Sorting -------------------------------------------------------------------------------------------------------


def heads(page: FlaskClient, where: str) -> dict[str, tuple[str, str]]:
    """Each column that sorts: how it is sorted now, and where a click leads."""
    found = re.findall(
        r'<th scope="col"[^>]*?(?:aria-sort="(\w+)")?><a class="sorter" href="([^"]+)">([^<]+)', page.get(where).text
    )
    return {word: (sort, html.unescape(href)) for sort, href, word in found}


def test_a_click_sorts_by_a_column_and_another_turns_it_round(page, alice, bob):
    there = heads(page, "/admin/credits?q=example")
    assert there["Who"] == ("ascending", "/admin/credits?q=example&sort=-name")
    assert there["Credits"] == ("", "/admin/credits?q=example&sort=-credits")
    sorted_now = heads(page, there["Credits"][1])
    assert sorted_now["Credits"] == ("descending", "/admin/credits?q=example&sort=credits")
    assert sorted_now["Who"] == ("", "/admin/credits?q=example&sort=name")


def test_bills_are_sorted_by_what_was_billed_and_the_sandbox_stays_last(page, billed):
    def models(where: str) -> list[str]:
        return re.findall(r'<span class="clip faint"><bdi>([^<]+)</bdi>', page.get(where).text)

    assert models("/admin/vendors/bills") == ["swap", "=draw", "swap"]
    assert models("/admin/vendors/bills?sort=billed") == ["=draw", "swap", "swap"]
    assert models("/admin/vendors/bills?sort=-left") == ["=draw", "swap", "swap"]
    assert models("/admin/vendors/bills?sort=nonsense&days=7") == ["swap", "=draw", "swap"]
    assert heads(page, "/admin/vendors/bills?days=7")["Runs"][1] == "/admin/vendors/bills?days=7&sort=-runs"


def test_prices_are_narrowed_to_one_vendor_by_the_address(page):
    said = words(page.get("/admin/prices?vendor=gemini").text)
    assert "Google Gemini gemini-nano-banana" in said and "fal-ai/" not in said
    assert "fal-ai/" in words(page.get("/admin/prices?vendor=nobody").text)


# --- Exporting -----------------------------------------------------------------------------------------------------


def test_the_people_that_are_listed_are_exported_in_their_order(page, alice, bob, charlie):
    with transaction():
        session.execute(text("UPDATE accounts SET name = '=Bob()' WHERE id = :id"), {"id": bob.id})
    head, *rows = read(page, "/admin/people.csv?q=example&sort=-joined")
    assert head[:3] == ["account", "e-mail", "name"]
    assert [row[1] for row in rows] == ["bob@example.com", "alice@example.com", "charlie@example.com"]
    assert rows[0][2] == "'=Bob()" and rows[1][-4:] == ["1000", "0", "0", "1000"]
    assert [row[1] for row in read(page, "/admin/people.csv?q=alice")[1:]] == ["alice@example.com"]


def test_an_export_of_people_goes_on_over_pages(page, settings):
    crowd(settings, 130)
    assert len({row[0] for row in read(page, "/admin/people.csv")[1:]}) == 131


def test_bills_and_prices_are_exported_as_they_stand(page, billed):
    head, *rows = read(page, "/admin/vendors/bills.csv?sort=-billed")
    assert head[:3] == ["vendor", "model", "sandbox"]
    assert [row[:4] for row in rows] == [
        ["fal", "swap", "no", "1"],
        ["gemini", "'=draw", "no", "1"],
        ["fal", "swap", "yes", "1"],
    ]
    assert rows[0][5:8] == ["0.15", "20.00", "5.00"]
    head, *rows = read(page, "/admin/prices/prices.csv")
    assert head[:4] == ["vendor", "model", "unit", "dollars"] and len(rows) == len(prices.listed())


# --- Taking back ---------------------------------------------------------------------------------------------------


def test_a_limit_is_taken_back_to_what_it_was(page, alice):
    def limit_of() -> int | None:
        session.expire_all()
        return session.get_one(Account, alice.id).daily_credits

    for wanted in ("5", "7"):
        page.post(f"/admin/credits/{alice.id}/limit", data={"limit": wanted, "reason": "Too fast"})
    undo(page, f"/admin/credits/{alice.id}")
    assert limit_of() == 5
    page.post(f"/admin/credits/{alice.id}/limit", data={"limit": "", "reason": "As before"})
    undo(page, f"/admin/credits/{alice.id}")
    assert limit_of() == 5
    assert "Taken back: As before" in words(page.get(f"/admin/credits/{alice.id}").text)


def test_a_price_that_was_changed_is_set_back_and_one_that_was_added_goes_again(page):
    before = next(price for price in prices.listed() if price.vendor == "gemini")
    model, dollars, note = before.model, before.dollars, before.note
    form = {"model": model, "unit": before.unit, "dollars": "9", "per": "1", "minimum": "0", "as_of": "2026-01-02"}
    assert page.post("/admin/prices/gemini", data=form).status_code == 303
    undo(page, "/admin/prices")
    session.expire_all()
    assert (prices.find("gemini", model).dollars, prices.find("gemini", model).note) == (dollars, note)
    assert page.post("/admin/prices/gemini", data={**form, "model": "new-one"}).status_code == 303
    undo(page, "/admin/prices")
    assert "new-one" not in [price.model for price in prices.listed()]


def test_a_choice_of_a_vendor_is_taken_back(page, charlie):
    page.post("/admin/vendors/engines/faces", data={"vendor": "wavespeed"})
    page.post("/admin/vendors/engines/faces", data={"vendor": "picsi"})
    undo(page, "/admin/vendors")
    assert choices.made() == {"faces": "wavespeed"}
    page.post("/admin/vendors/engines/faces", data={"vendor": ""})
    undo(page, "/admin/vendors")
    assert choices.made() == {"faces": "wavespeed"}


# --- A person who complains ----------------------------------------------------------------------------------------


def test_the_jobs_of_a_person_stand_under_their_credits_with_their_reasons(page, alice, settings, work):
    with transaction():
        failed = jobs.submit(alice, echo.tool, {"copies": 1, "credits": 5, "trouble": "refuse"}, settings).jobs[0]
        paid = jobs.submit(alice, echo.tool, {"copies": 1, "credits": 5}, settings).jobs[0]
    work()
    shown = page.get(f"/admin/credits/{alice.id}?job={failed.id}").text
    session.expire_all()
    assert html.unescape(session.get_one(Job, failed.id).error or "?") in words(shown)
    assert shown.index(f'id="job-{failed.id}"') < shown.index(f'id="job-{paid.id}"'), (
        "the one that is asked about is first"
    )
    assert f"?job={paid.id}&amp;change=refund#refund" in shown
    assert "not charged" in words(shown)


def test_a_job_of_somebody_else_is_not_shown_under_a_person(page, alice, bob, settings):
    with transaction():
        job = jobs.submit(bob, echo.tool, {"copies": 1}, settings).jobs[0]
    assert f'id="job-{job.id}"' not in page.get(f"/admin/credits/{alice.id}?job={job.id}").text
