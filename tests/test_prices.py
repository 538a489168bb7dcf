"""What vendors take: one table, from which every quote is made, and which an administrator edits."""

import html
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from novai_web import prices
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput
from novai_web.prices import Change, NoPrice, Price
from tests.test_credits_pages import words

TRAINER = ("fal", "fal-ai/wan-22-image-trainer")
SWAPPER = ("wavespeed", "wavespeed-ai/video-face-swap")
PICTURE = ("gemini", "gemini-nano-banana-2.1")
FORM = {
    "model": PICTURE[1],
    "unit": "image",
    "dollars": "0.05",
    "per": "1",
    "minimum": "1",
    "as_of": "2026-11-20",
    "source": "https://example.com/prices",
    "note": "",
}


@pytest.fixture
def page(client: FlaskClient, charlie: Account, sign_in: Callable[..., None]) -> FlaskClient:
    """A browser in which Charlie, the administrator, is signed in."""
    sign_in(client, charlie)
    return client


def save(page: FlaskClient, vendor: str = "gemini", **changes: str) -> TestResponse:
    return page.post(f"/admin/prices/{vendor}", data=FORM | changes)


def stored(vendor: str, model: str) -> Price | None:
    session.rollback()
    return session.get(Price, (vendor, model), populate_existing=True)


# --- What something costs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("which", "quantity", "microusd"),
    [
        (TRAINER, 1000, 4_500_000),
        (TRAINER, 10, 450_000),  # at least a hundred steps are billed
        (SWAPPER, 0.5, 50_000),
        (SWAPPER, 5, 50_000),
        (SWAPPER, 5.01, 100_000),  # for each five seconds begun
        (SWAPPER, 61, 650_000),
        (PICTURE, 1, 33_600),
        (PICTURE, 3, 100_800),
    ],
)
def test_a_vendor_takes_its_units_its_minimum_and_what_was_begun(app, which, quantity, microusd):
    assert prices.cost_microusd(*which, quantity) == microusd


@pytest.mark.parametrize(
    ("microusd", "markup", "credits"),
    [(33_600, 1.5, 6), (150_000, 1.5, 23), (100_000, 1.1, 11), (10_000, 1.0, 1), (1, 1.5, 1), (0, 1.5, 0), (9, 0, 0)],
)
def test_people_pay_the_cost_times_the_markup_rounded_up_to_whole_credits(settings, microusd, markup, credits):
    assert prices.charged(microusd, settings.model_copy(update={"price_markup": markup})) == credits


def test_what_has_no_price_cannot_be_quoted_and_says_who_can_help(app, settings):
    with pytest.raises(NoPrice) as none:
        prices.credits("gemini", "gemini-of-tomorrow", 1, settings)
    said = str(none.value)
    assert "gemini-of-tomorrow costs at gemini" in said and "Nothing was started" in said and "Settings, Prices" in said


def test_a_price_that_a_running_step_looks_up_leaves_no_transaction_open(app, settings):
    session.rollback()
    prices.credits(*PICTURE, 1, settings)
    assert not session().in_transaction()


def test_a_price_is_read_in_the_transaction_that_is_open(app, charlie, settings):
    change = Change("image", Decimal("1"), 1, 1, date(2026, 11, 20), "", "")
    prices.put(*PICTURE, change, by=charlie)
    assert prices.credits(*PICTURE, 1, settings) == 150
    session.rollback()
    assert prices.credits(*PICTURE, 1, settings) == 6


def test_every_model_that_the_settings_name_has_a_price_with_its_day(app, settings):
    for vendor, model in (
        ("fal", settings.fal_trainer_model),
        ("fal", settings.fal_picture_model),
        ("fal", settings.fal_swap_model),
        ("gemini", settings.gemini_image_model),
        ("wavespeed", settings.wavespeed_swap_model),
        ("picsi", settings.picsi_model),
    ):
        price = prices.find(vendor, model)
        assert price.microusd > 0 and price.as_of <= date(2026, 11, 21)
        assert price.source or "estimate" in price.note, "what nobody has written down says that it is a guess"


# --- The page ------------------------------------------------------------------------------------------------------


def test_an_administrator_sees_every_price_with_its_unit_its_day_and_its_source(page):
    said = words(page.get("/admin/prices").text)
    assert "fal fal-ai/wan-22-image-trainer $0.0045 per step as of 2026-11-21" in said and "No source" in said
    assert "WaveSpeed wavespeed-ai/video-face-swap $0.05 per 5 seconds begun" in said
    assert "People pay this times 1.5" in said and "At least 100 steps are billed." in said
    assert 'value="https://fal.ai/models/fal-ai/wan-22-image-trainer/llms.txt"' in page.get("/admin/prices").text


def test_a_price_is_changed_and_the_next_quote_follows_it(page, charlie, settings):
    assert save(page, dollars="0.10").status_code == 303
    price = stored(*PICTURE)
    assert price and price.microusd == 100_000 and price.as_of == date(2026, 11, 20)
    assert price.changed_by_id == charlie.id and price.changed_at
    assert prices.credits(*PICTURE, 1, settings) == 15
    assert "gemini-nano-banana-2.1: $0.1 per image" in words(page.get("/admin/prices").text)


def test_a_model_that_had_no_price_gets_one(page, settings):
    assert save(page, model="gemini-of-tomorrow", dollars="$0,2").status_code == 303
    assert prices.credits("gemini", "gemini-of-tomorrow", 1, settings) == 30


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("dollars", "cheap", "Enter US dollars, such as 0.0045."),
        ("dollars", "-1", "Enter US dollars from 0 to 10,000"),
        ("dollars", "NaN", "Enter US dollars from 0 to 10,000"),
        ("dollars", "1e99", "Enter US dollars from 0 to 10,000"),
        ("unit", "", "Enter what is counted"),
        ("per", "0", "Enter a whole number from 1 to 1,000,000."),
        ("per", "many", "Enter a whole number"),
        ("minimum", "-1", "Enter a whole number from 0 to 1,000,000."),
        ("as_of", "yesterday", "Enter the day on which you read this price."),
        ("as_of", "2999-01-01", "it cannot be in the future"),
        ("source", "x" * 301, "Use at most 300 characters"),
        ("note", "two\nlines", "Use at most 300 characters, in one line."),
    ],
)
def test_what_is_no_price_is_said_at_its_field_and_what_was_typed_stays(page, field, value, said):
    answer = save(page, **{field: value})
    assert answer.status_code == 422 and said in words(answer.text)
    assert html.escape(value, quote=True) in answer.text
    assert stored(*PICTURE).microusd == 33_600


def test_a_wrong_model_name_is_said_where_a_price_is_added(page):
    answer = save(page, model="two words")
    assert answer.status_code == 422 and "without blanks" in words(answer.text) and 'value="two words"' in answer.text


def test_today_is_a_day_on_which_a_price_may_have_been_read(charlie, app):
    today = datetime.now(UTC).date()
    with transaction():
        prices.put(*PICTURE, Change("image", Decimal("1"), 1, 1, today, "", ""), by=charlie)
    tomorrow = Change("image", Decimal("1"), 1, 1, today + timedelta(days=1), "", "")
    with pytest.raises(InvalidInput):
        prices.put(*PICTURE, tomorrow, by=charlie)


def test_a_price_is_removed_and_undo_brings_it_back_as_it_was(page, settings):
    assert page.post("/admin/prices/gemini/removal", data={"model": PICTURE[1]}).status_code == 303
    with pytest.raises(NoPrice):
        prices.credits(*PICTURE, 1, settings)
    toast = page.get("/admin/prices").text.partition("data-toast")[2]
    undo = re.search(r'<form method="post" action="(/admin/prices/gemini)"(.*?)</form>', toast, re.DOTALL)
    assert undo
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="([^"]+)" value="([^"]*)"', undo[2])}
    assert page.post(undo[1], data=fields).status_code == 303
    assert prices.credits(*PICTURE, 1, settings) == 6
    assert "At 1K." in stored(*PICTURE).note


def test_two_who_add_the_same_price_at_once_leave_one(page):
    for dollars in ("0.1", "0.2"):
        assert save(page, model="twice", dollars=dollars).status_code == 303
    assert len(session.scalars(select(Price).where(Price.model == "twice")).all()) == 1


def test_nobody_else_learns_that_there_are_prices_to_edit(client, alice, sign_in):
    sign_in(client, alice)
    assert client.get("/admin/prices").status_code == 404
    assert save(client).status_code == 404
    assert client.post("/admin/prices/gemini/removal", data={"model": PICTURE[1]}).status_code == 404
    assert stored(*PICTURE).microusd == 33_600


# --- The API -------------------------------------------------------------------------------------------------------


def test_the_api_tells_everybody_the_credits_and_only_administrators_the_cost(client, charlie, as_alice, bearer):
    def of_picture(headers):
        items = client.get("/api/v1/prices", headers=headers).json["items"]
        return next(each for each in items if each["model"] == PICTURE[1])

    mine, theirs = of_picture(as_alice), of_picture(bearer(charlie))
    assert (mine["credits"], mine["unit"], mine["microusd"], mine["source"]) == (5.04, "image", None, None)
    assert theirs["microusd"] == 33_600 and "ai.google.dev" in str(theirs["source"])


def test_a_markup_of_an_installation_reaches_every_price(make_app, alice, bearer):
    client = make_app(price_markup=2).test_client()
    items = client.get("/api/v1/prices", headers=bearer(alice)).json["items"]
    assert {each["model"]: each["credits"] for each in items}[TRAINER[1]] == pytest.approx(0.9)
    assert Settings(_env_file=None).price_markup == 1.5
