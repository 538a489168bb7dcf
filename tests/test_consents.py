"""Consents: whose likeness may be used; given, read again at every slice, revoked, and what was made with them."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from novai_web import consents
from novai_web.consents import Consent
from novai_web.db import session, transaction
from novai_web.errors import InvalidInput, NotFound
from novai_web.library.assets import Library
from novai_web.tools import TOOLS, face_swap
from novai_web.tools.likeness import takers
from tests.things import made_from, put

SLUG = face_swap.tool.slug
ANNA = {"who": "Anna", "how": "Signed release of 3 May"}


def today() -> Any:
    return datetime.now(UTC).date()


@pytest.fixture
def library(alice):
    return Library(alice.id)


@pytest.fixture
def give(library):
    def one(**given: Any) -> Consent:
        with transaction():
            return consents.give(library, **{**ANNA, **given})

    return one


@pytest.fixture
def browser(client, alice, sign_in):
    sign_in(client, alice)
    return client


# --- Giving one ----------------------------------------------------------------------------------------------------


def test_a_consent_says_who_what_for_until_when_and_how(give):
    until = today() + timedelta(days=30)
    made = give(purposes=[SLUG], until=until)
    assert (made.who, made.how, made.purposes, made.until) == ("Anna", "Signed release of 3 May", [SLUG], until)
    assert made.is_usable and made.covers(SLUG) and not made.covers("another")


def test_a_statement_that_a_face_is_synthetic_is_a_record_too(library):
    with transaction():
        made = consents.give(library, is_synthetic=True)
    assert made.is_synthetic and "synthetic" in made.how and made.covers(SLUG)


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("who", {"who": " \u200b "}),
        ("who", {"who": "x" * 121}),
        ("how", {"how": "\n"}),
        ("how", {"how": "x" * 2001}),
        ("until", {"until": today() - timedelta(days=2)}),
        ("until", {"until": today().replace(year=9999)}),
        ("purposes", {"purposes": ["everything else"]}),
    ],
)
def test_what_is_missing_or_wrong_is_said_field_by_field(give, field, given):
    with pytest.raises(InvalidInput) as wrong:
        give(**given, known=[SLUG])
    assert set(wrong.value.fields) == {field} and wrong.value.fields[field].endswith(".")


def test_a_consent_is_over_after_its_last_day(give):
    made = give(until=today() + timedelta(days=1))
    with transaction():
        made.until = today() - timedelta(days=1)
    session.refresh(made)
    assert made.status == "over" and not made.is_usable


# --- In a tool's form ----------------------------------------------------------------------------------------------


def refusal(client, alice, bearer, consent_id: Any) -> str | None:
    given = {"videos": [], "face": 1, "consent": consent_id}
    answer = client.post(f"/api/v1/tools/{SLUG}/quote", json=given, headers=bearer(alice))
    said = {error["field"]: error["message"] for error in answer.json["errors"]}
    return said.get("consent")


def test_a_tool_takes_a_consent_that_covers_it_and_no_other(client, alice, bearer, give, bob):
    with transaction():
        strangers = consents.give(Library(bob.id), **ANNA)
    other = next((tool.slug for tool in takers(TOOLS) if tool.slug != SLUG), "another")
    over, revoked, elsewhere = give(), give(), give(purposes=[other])
    with transaction():
        over.until = today() - timedelta(days=1)
        consents.revoke(revoked)
    assert refusal(client, alice, bearer, give().id) is None
    assert "run out" in str(refusal(client, alice, bearer, over.id))
    assert "revoked" in str(refusal(client, alice, bearer, revoked.id))
    assert "something else" in str(refusal(client, alice, bearer, elsewhere.id))
    for nothing in (strangers.id, 999_999_999):
        assert "not among yours" in str(refusal(client, alice, bearer, nothing))
    for nonsense in ("x", True, -1, [], {}):
        assert refusal(client, alice, bearer, nonsense)


def test_a_tools_page_offers_what_covers_it_and_takes_a_new_one_in_place(browser, give):
    give(who="Usable")
    give(who="Elsewhere", purposes=["another"])
    page = browser.get(f"/tools/{SLUG}").text
    assert "Usable" in page and "Elsewhere" not in page and 'id="new-consent"' in page
    answer = browser.post(f"/tools/{SLUG}/consents", data={"who": "Berta", "how": "By mail", "purposes": SLUG})
    assert answer.status_code == 200 and "data-new-choice" in answer.text
    assert "Berta" in answer.text and "selected" in answer.text


def test_a_new_one_that_is_wrong_comes_back_as_the_form_with_what_was_typed(browser):
    answer = browser.post(f"/tools/{SLUG}/consents", data={"who": "Berta", "how": "", "until": "tomorrow"})
    assert answer.status_code == 422 and answer.headers["HX-Retarget"] == "#consent-form"
    assert "Write a day" in answer.text and 'value="Berta"' in answer.text


def test_a_tool_that_needs_no_consent_takes_none(browser):
    assert browser.post("/tools/variants/consents", data=ANNA).status_code == 404


# --- Revoking, and what was made -----------------------------------------------------------------------------------


def test_revoking_twice_is_revoking_once(give, library):
    made = give()
    with transaction():
        consents.revoke(made)
        first = made.revoked_at
        consents.revoke(made)
    assert consents.find(library, made.id).revoked_at == first and made.status == "revoked"


def test_the_list_of_what_was_made_reaches_what_was_made_of_that(alice, settings, give, library):
    anna, berta = give(), give(who="Berta")
    swapped = put(alice, settings, type="swapped", recipe={"consent": consents.recipe_of(anna)})
    variant = put(alice, settings, type="variant")
    other = put(alice, settings, type="swapped", recipe={"consent": consents.recipe_of(berta)})
    made_from(variant, swapped)
    assert [asset.id for asset in consents.made_with(library, anna).items] == [variant.id, swapped.id]
    assert [asset.id for asset in consents.made_with(library, berta).items] == [other.id]
    assert consents.counts(library, [anna, berta]) == {anna.id: 1, berta.id: 1}
    behind = consents.behind(library, swapped)
    assert behind and behind.id == anna.id and consents.behind(library, variant) is None


def test_a_recipe_that_names_a_strangers_consent_leads_nowhere(alice, bob, settings, give):
    anna = give()
    put(bob, settings, recipe={"consent": consents.recipe_of(anna)})
    assert consents.made_with(Library(alice.id), anna).total == 0


def test_its_pages_show_it_revoke_it_and_list_what_was_made(browser, alice, settings, give):
    anna = give()
    put(alice, settings, name="Clip with Anna", recipe={"consent": consents.recipe_of(anna)})
    assert "Anna" in browser.get("/consents").text
    assert "Clip with Anna" in browser.get(f"/consents/{anna.id}").text
    assert browser.post(f"/consents/{anna.id}/revocation").status_code == 303
    page = browser.get(f"/consents/{anna.id}").text
    assert "Revoked" in page and "Clip with Anna" in page and "/revocation" not in page


def test_a_plain_form_writes_one_down_or_says_what_is_missing(browser):
    refused = browser.post("/consents", data={"who": "Carla", "how": ""})
    assert refused.status_code == 422 and "Say how it was given" in refused.text and 'value="Carla"' in refused.text
    assert browser.post("/consents", data={"is_synthetic": "1"}).status_code == 303
    assert "Synthetic face" in browser.get("/consents").text


def test_the_list_is_sorted_narrowed_and_exported_as_its_address_says(browser, give):
    soon, later = today() + timedelta(days=3), today() + timedelta(days=30)
    give(who="Berta", until=later)
    give(who="=Anna", until=soon)
    with transaction():
        consents.revoke(give(who="Carla"))

    def listed(asked: str) -> list[str]:
        rows = browser.get(f"/consents.csv{asked}").text.splitlines()
        seen = re.findall(
            r'<a class="person"[^>]*><span class="clip"><bdi>([^<]+)', browser.get(f"/consents{asked}").text
        )
        assert [row.split(",")[1].removeprefix("'") for row in rows[1:]] == seen
        return seen

    assert listed("") == ["Carla", "=Anna", "Berta"]
    assert listed("?sort=who") == ["=Anna", "Berta", "Carla"]
    assert listed("?sort=-who&status=given") == ["Berta", "=Anna"]
    assert listed("?sort=until") == ["=Anna", "Berta", "Carla"]
    assert listed("?status=revoked&sort=nonsense") == ["Carla"]
    assert listed("?status=over") == [] and "No consent is in this state." in browser.get("/consents?status=over").text


# --- Over JSON -----------------------------------------------------------------------------------------------------


def test_the_api_does_what_the_pages_do(client, alice, settings, as_alice):
    made = client.post("/api/v1/consents", json=ANNA | {"purposes": [SLUG]}, headers=as_alice)
    assert made.status_code == 201 and made.json["status"] == "given"
    consent_id = made.json["id"]
    put(alice, settings, recipe={"consent": {"id": consent_id}})
    assert client.get("/api/v1/consents", headers=as_alice).json["total"] == 1
    assert client.get(f"/api/v1/consents/{consent_id}/assets", headers=as_alice).json["total"] == 1
    revoked = client.post(f"/api/v1/consents/{consent_id}/revocation", headers=as_alice)
    assert revoked.json["status"] == "revoked"
    wrong = client.post("/api/v1/consents", json=ANNA | {"purposes": ["nothing"]}, headers=as_alice)
    assert [error["field"] for error in wrong.json["errors"]] == ["purposes"]


def test_a_strangers_consent_is_not_there(client, bob, as_bob, sign_in, give):
    anna = give()
    for method, path in (("GET", ""), ("GET", "/assets"), ("POST", "/revocation")):
        assert client.open(f"/api/v1/consents/{anna.id}{path}", method=method, headers=as_bob).status_code == 404
    sign_in(client, bob)
    assert client.get(f"/consents/{anna.id}").status_code == 404
    assert client.post(f"/consents/{anna.id}/revocation").status_code == 404
    with pytest.raises(NotFound):
        consents.find(Library(bob.id), anna.id)
    assert anna.revoked_at is None
