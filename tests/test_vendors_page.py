"""Vendors as administrators see them: keys that are set and never shown, a test, a choice, errors, circuits, bills."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import text

from novai_web import choices, credits, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.jobs import Job, bills, breaker, complaints
from novai_web.jobs.runs import Run
from novai_web.sandbox import started
from novai_web.tools import echo
from tests.test_credits_pages import words

KEY = "k-0123456789abcdef"
SECRET = "s-fedcba9876543210"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("vendors", "--folder", tmp_path_factory.mktemp("sandbox"), "--seconds", "0.3") as url:
        yield url


@pytest.fixture
def page_of(make_app, charlie, sign_in) -> Callable[..., FlaskClient]:
    """`page_of(fal_key=…)`: a browser of Charlie's, the administrator, at an installation with these settings."""

    def page_of(**changes: object) -> FlaskClient:
        given = {name: SecretStr(str(value)) if name.endswith("_key") else value for name, value in changes.items()}
        client: FlaskClient = make_app(**given).test_client()
        sign_in(client, charlie)
        return client

    return page_of


def card(page: FlaskClient, vendor: str) -> str:
    """What the card of one vendor says, in words."""
    shown = page.get("/admin/vendors").text
    found = re.search(rf'<article class="panel" id="vendor-{vendor}".*?</article>', shown, re.DOTALL)
    assert found
    return words(found[0])


def pressed(page: FlaskClient, vendor: str) -> str:
    """What the page says after the Test button was pressed."""
    assert page.post(f"/admin/vendors/{vendor}/checks").status_code == 303
    toast = page.get("/admin/vendors").text.partition("data-toast")[2]
    return words(toast.partition("</div>")[0])


# --- Keys ----------------------------------------------------------------------------------------------------------


def test_a_key_that_is_set_is_named_and_never_shown(page_of, sandbox):
    page = page_of(fal_key=f"{KEY}:{SECRET}", sandbox_url=sandbox)
    assert "fal Key is set" in card(page, "fal") and "set in FAL_KEY , and shown nowhere" in card(page, "fal")
    assert "Google Gemini Sandbox" in card(page, "gemini") and "put it into GEMINI_API_KEY" in card(page, "gemini")
    for where in ("/admin/vendors", "/settings", "/admin/prices", "/admin/vendors/bills"):
        shown = page.get(where).text
        assert KEY not in shown and SECRET not in shown


def test_without_key_and_sandbox_a_vendor_is_missing_and_its_setting_named(page_of):
    page = page_of()
    assert "WaveSpeed No key" in card(page, "wavespeed") and "WAVESPEED_API_KEY" in card(page, "wavespeed")
    assert "has no key here: set WAVESPEED_API_KEY" in pressed(page, "wavespeed")


def test_the_page_says_that_nobody_knows_picsis_contract(page_of, sandbox):
    assert "Picsi’s contract is not public" in card(page_of(sandbox_url=sandbox), "picsi")


def test_only_administrators_learn_of_vendors(client, alice, sign_in):
    sign_in(client, alice)
    assert client.get("/admin/vendors").status_code == 404
    assert client.get("/admin/vendors/bills").status_code == 404
    assert client.post("/admin/vendors/fal/checks").status_code == 404
    assert client.post("/admin/vendors/engines/faces", data={"vendor": "fal"}).status_code == 404
    assert "Vendors and prices" not in client.get("/settings").text


# --- The test ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("vendor", ["fal", "gemini", "wavespeed", "picsi"])
def test_the_test_button_asks_the_sandbox_something_free_and_says_so(page_of, sandbox, vendor):
    page = page_of(sandbox_url=sandbox)
    said = pressed(page, vendor)
    assert "In the sandbox: " in said and (
        "accepts the key" in said or "key is accepted" in said or "not reject" in said
    )


def test_a_vendor_that_is_away_is_said_to_be(page_of):
    page = page_of(gemini_key=KEY, gemini_url="http://127.0.0.1:1")
    said = pressed(page, "gemini")
    assert "Google Gemini: The vendor is not answering." in said


def at_sandbox(sandbox: str, key: str) -> dict[str, str]:
    """The settings of an installation whose vendors are real, as far as it can tell."""
    places = {"fal_queue_url": "fal-queue", "fal_rest_url": "fal-rest", "fal_api_url": "fal-api"}
    places |= {"gemini_url": "gemini", "wavespeed_url": "wavespeed", "picsi_url": "picsi"}
    keys = {"fal_key": f"{key}:{SECRET}", "gemini_key": key, "wavespeed_key": key, "picsi_key": key}
    return {name: f"{sandbox}/{place}" for name, place in places.items()} | keys


@pytest.mark.parametrize("vendor", ["fal", "gemini", "wavespeed", "picsi"])
@pytest.mark.parametrize("key", [KEY, f"wrong-{KEY}"])
def test_the_test_button_tells_a_good_key_from_a_wrong_one_and_shows_neither(page_of, sandbox, vendor, key):
    said = pressed(page_of(**at_sandbox(sandbox, key)), vendor)
    assert ("is not accepted. An administrator can set another." in said) is key.startswith("wrong")
    assert KEY not in said and SECRET not in said and "sandbox" not in said


def test_a_vendor_whose_account_is_empty_is_told_from_a_wrong_key(page_of, sandbox):
    said = pressed(page_of(**at_sandbox(sandbox, f"poor-{KEY}")), "fal")
    assert "out of money. An administrator can top it up." in said


# --- The choice ----------------------------------------------------------------------------------------------------


def test_without_a_choice_the_first_with_a_key_serves_and_then_the_first_in_the_sandbox(app, settings):
    def first(**changes: object) -> str:
        return choices.chosen("faces", settings.model_copy(update=changes))

    keyed = Settings(_env_file=None, wavespeed_key="k").wavespeed_key
    assert first() == "fal"
    assert first(sandbox_url="http://127.0.0.1:1") == "fal"
    assert first(sandbox_url="http://127.0.0.1:1", wavespeed_key=keyed) == "wavespeed"
    assert first(wavespeed_key=keyed) == "wavespeed"


def test_an_administrator_chooses_and_takes_the_choice_back(page_of, settings):
    page = page_of()
    assert page.post("/admin/vendors/engines/faces", data={"vendor": "wavespeed"}).status_code == 303
    assert choices.chosen("faces", settings) == "wavespeed"
    assert "Swapping faces: WaveSpeed from now on." in words(page.get("/admin/vendors").text)
    assert '<option value="wavespeed" selected>' in page.get("/admin/vendors").text
    assert page.post("/admin/vendors/engines/faces", data={"vendor": "picsi"}).status_code == 303
    assert choices.chosen("faces", settings) == "picsi"
    assert page.post("/admin/vendors/engines/faces", data={"vendor": ""}).status_code == 303
    assert choices.chosen("faces", settings) == "fal"


def test_what_is_no_engine_or_cannot_do_it_is_refused(page_of):
    page = page_of()
    assert page.post("/admin/vendors/engines/dreams", data={"vendor": "fal"}).status_code == 404
    refused = page.post("/admin/vendors/engines/faces", data={"vendor": "gemini"})
    assert refused.status_code == 422 and "Choose one of: fal, wavespeed, picsi." in words(refused.text)


def test_a_choice_that_a_step_looks_up_leaves_no_transaction_open(app, settings):
    session.rollback()
    choices.chosen("faces", settings)
    assert not session().in_transaction()


# --- What went wrong -----------------------------------------------------------------------------------------------


def test_the_newest_errors_stand_there_with_time_job_and_the_vendors_words(page_of, settings):
    for n in range(12):
        complaints.complain("fal", "vendor_refused", f"No number {n} <b>today</b>", None, settings)
    page = page_of()
    said = card(page, "fal")
    assert "Last errors (10)" in said and "vendor refused No number 11 <b>today</b>" in said and "number 1 " not in said
    assert "<b>today" not in page.get("/admin/vendors").text
    assert "No errors so far." in card(page, "gemini")


def test_the_circuit_says_what_the_workers_do(page_of):
    page = page_of()
    assert "Circuit closed: it answers as it should" in card(page, "fal")
    breaker.failed("fal")
    assert "closed; 1 failure in a row so far" in card(page, "fal")
    for _ in range(breaker.FAILURES_MAX):
        breaker.failed("fal")
    assert re.search(r"open: after 5 failures in a row nobody asks it for \d+ s", card(page, "fal"))
    with transaction():
        session.execute(text("UPDATE vendors SET open_until = now() - interval '1 s', probing_at = now()"))
    assert "half open: one worker tries" in card(page, "fal")
    breaker.succeeded("fal")
    assert "closed: it answers" in card(page, "fal")


# --- Bills ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def charged(alice: Account, settings: Settings, work: Callable[[], None]) -> Callable[[int], Job]:
    """`charged(20)`: a job of Alice's that delivered, and was charged so many credits."""

    def charged(price: int) -> Job:
        with transaction():
            (job,) = jobs.submit(alice, echo.tool, {"copies": 1, "credits": price}, settings).jobs
        work()
        return job

    return charged


def run_of(job: Job, n: int, **values: object) -> None:
    given = {"vendor": "fal", "model": "m", "state": "done", "request": "r", "external_id": f"x{job.id}.{n}", **values}
    with transaction():
        session.add(Run(job_id=job.id, n=n, marker=f"m{job.id}.{n}", **given))


def test_what_the_vendors_billed_stands_against_what_people_were_charged(page_of, charged):
    run_of(charged(20), 1, cost_microusd=150_000)
    doubled = charged(30)
    run_of(doubled, 1, cost_microusd=100_000)
    run_of(doubled, 2, cost_microusd=100_000, state="abandoned", booked_to_house=True)
    run_of(charged(10), 1, vendor="gemini", model="g", cost_microusd=None)
    run_of(charged(40), 1, cost_microusd=5_000_000, is_sandbox=True)
    run_of(charged(7), 1, cost_microusd=9, state="not_started")
    assert [
        (bill.vendor, bill.is_sandbox, bill.runs, bill.microusd, bill.charged) for bill in bills.of_last_days()
    ] == [
        ("fal", False, 3, 350_000, 50),
        ("gemini", False, 1, 0, 10),
        ("fal", True, 1, 5_000_000, 40),
    ]
    said = words(page_of().get("/admin/vendors/bills").text)
    assert "Vendors billed $0.35 4 runs" in said and "People were charged $0.60 60 credits" in said
    assert "Left over $0.25" in said and "Paid by the house $0.10 1 run that delivered nothing" in said
    assert "1 of unknown cost" in said and "$5.00 in 1 run, not counted above" in said


def test_what_was_paid_back_was_not_charged(page_of, charged, charlie):
    job = charged(20)
    run_of(job, 1, cost_microusd=300_000)
    with transaction():
        credits.refund(session.get_one(Job, job.id), by=charlie, reason="It was wrong")
    (bill,) = bills.of_last_days()
    assert bill.charged == 0 and bill.margin_credits == -30
    assert "Left over −$0.30" in words(page_of().get("/admin/vendors/bills").text)


def test_a_period_is_chosen_and_what_is_older_is_left_out(page_of, charged):
    run_of(charged(20), 1, cost_microusd=150_000)
    with transaction():
        session.execute(text("UPDATE runs SET created_at = now() - interval '40 days'"))
    page = page_of()
    assert "No vendor was paid in the last 30 days." in words(page.get("/admin/vendors/bills").text)
    assert "$0.15" in words(page.get("/admin/vendors/bills?days=90").text)
    assert page.get("/admin/vendors/bills?days=99999").status_code == 200


# --- Where a tool works --------------------------------------------------------------------------------------------


def test_the_api_says_where_each_tool_works(make_app, alice, bearer, sandbox):
    def works(**changes: object) -> set[tuple[bool, str]]:
        answer = make_app(**changes).test_client().get("/api/v1/tools", headers=bearer(alice))
        assert answer.json
        return {(each["vendor"] is None, each["works"]) for each in answer.json["items"]}

    assert works() == {(True, "here"), (False, "missing")}
    assert works(sandbox_url=sandbox) == {(True, "here"), (False, "sandbox")}


def test_the_sandbox_says_that_it_is_none_of_the_vendors(sandbox, tmp_path: Path):
    assert "sandbox" in requests.get(sandbox, timeout=5).headers["Server"].lower()
