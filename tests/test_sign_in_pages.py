"""Coming in and going out through the pages, without any JavaScript."""

import re
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from novai_web import accounts
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.web.paths import local_path

PASSWORD = "correct horse battery"
ADA = {"name": "Ada", "email": "ada@example.com", "password": PASSWORD}


def csrf(client: FlaskClient, url: str) -> str:
    """The token in the form of a page."""
    found = re.search(r'name="csrf_token" value="([^"]+)"', client.get(url).text)
    assert found, f"no form on {url}"
    return found[1]


def send(client: FlaskClient, url: str, form: dict[str, str], page: str | None = None) -> TestResponse:
    """Fill in the form of a page as a browser would."""
    return client.post(url, data={**form, "csrf_token": csrf(client, page or url)})


def test_a_fresh_installation_asks_for_its_administrator_and_signs_them_in(client: FlaskClient) -> None:
    for url in ("/", "/sign-in", "/sign-up", "/settings", "/jobs"):
        assert client.get(url).location == "/setup"
    answer = send(client, "/setup", ADA)
    assert (answer.status_code, answer.location) == (303, "/")
    account = session.scalars(select(Account)).one()
    assert account.is_admin
    assert client.get("/sign-in").location == "/", "already signed in"


def test_the_setup_page_is_gone_once_there_is_an_administrator(client: FlaskClient, alice: Account) -> None:
    assert client.get("/setup").status_code == 404
    assert client.get("/sign-in").status_code == 200
    assert send(client, "/setup", ADA, page="/sign-in").status_code == 404
    assert len(session.scalars(select(Account)).all()) == 1


def test_a_wrong_form_comes_back_with_everything_but_the_password(client: FlaskClient) -> None:
    answer = send(client, "/setup", {"name": "Ada <b>", "email": "not an address", "password": "tooshort"})
    assert answer.status_code == 422
    assert "Ada &lt;b&gt;" in answer.text and "<b>" not in answer.text
    assert "not an address" in answer.text
    assert "Enter an e-mail address" in answer.text and "at least 10 characters" in answer.text
    assert "tooshort" not in answer.text


def test_sign_in_goes_where_one_wanted_to_go(client: FlaskClient, alice: Account) -> None:
    asked = client.get("/jobs?status=open")
    assert asked.status_code == 303
    assert asked.location.startswith("/sign-in?next=")
    answer = send(
        client, asked.location, {"email": " Alice@Example.com", "password": PASSWORD, "next": "/jobs?status=open"}
    )
    assert (answer.status_code, answer.location) == (303, "/jobs?status=open")


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com", ""])
def test_a_refused_sign_in_is_the_same_page_for_known_and_unknown_people(
    client: FlaskClient, alice: Account, email: str
) -> None:
    answer = send(client, "/sign-in", {"email": email, "password": "wrong password"})
    assert answer.status_code == 422
    assert "do not belong together" in answer.text
    assert "wrong password" not in answer.text
    assert f'value="{email}"' in answer.text or not email


EVIL = [
    "//evil.example",
    "//[",
    "///evil.example",
    "https://evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " /jobs",
    "javascript:alert(1)",
    "jobs",
    "http:jobs",
    "",
    None,
]


@pytest.mark.parametrize("there", EVIL)
def test_next_never_leads_to_another_site(there: str | None) -> None:
    assert local_path(there, "/") == "/"


@pytest.mark.parametrize("there", ["/", "/jobs", "/jobs?status=open#x", "/videos?q=a%20b", "/a//b", "/@evil.example"])
def test_next_leads_anywhere_on_this_site(there: str) -> None:
    assert local_path(there, "/elsewhere") == there


@pytest.mark.parametrize("there", [each for each in EVIL if each])
def test_a_sign_in_link_cannot_send_people_away(client: FlaskClient, alice: Account, there: str) -> None:
    page = client.get("/sign-in", query_string={"next": there})
    assert "evil.example" not in page.text
    answer = send(client, "/sign-in", {"email": alice.email, "password": PASSWORD, "next": there})
    assert answer.location == "/"


def test_signing_in_leaves_nothing_of_an_older_session_behind(client: FlaskClient, alice: Account) -> None:
    with client.session_transaction() as planted:
        planted["planted"] = "by somebody else"
    before = csrf(client, "/sign-in")
    send(client, "/sign-in", {"email": alice.email, "password": PASSWORD})
    with client.session_transaction() as cookie:
        assert "planted" not in cookie
        assert cookie.permanent
    assert client.post("/sign-out", data={"csrf_token": before}).status_code == 400, "its token is dead as well"


def test_signing_out_ends_the_session(client: FlaskClient, alice: Account, sign_in: Callable[..., None]) -> None:
    sign_in(client, alice)
    assert client.get("/sign-in").location == "/"
    assert client.post("/sign-out").location == "/sign-in"
    assert client.get("/sign-in").status_code == 200


@pytest.mark.parametrize(
    "url", ["/sign-out", "/settings/profile", "/settings/password", "/settings/sign-out-everywhere"]
)
def test_a_change_needs_the_token_of_the_page(
    client: FlaskClient, alice: Account, sign_in: Callable[..., None], url: str
) -> None:
    sign_in(client, alice)
    del client.environ_base["HTTP_X_CSRFTOKEN"]
    for forged in ({}, {"csrf_token": "forged"}):
        answer = client.post(url, data={"name": "Mallory", **forged})
        assert answer.status_code == 400
        assert "Reload it" in answer.text
    session.refresh(alice)
    assert alice.name == "Alice Owner"
    assert client.get("/sign-in").location == "/", "still signed in"


@pytest.mark.parametrize("url", ["/setup", "/sign-up", "/sign-in"])
def test_nobody_can_be_signed_in_or_up_by_another_site(client: FlaskClient, url: str) -> None:
    assert client.post(url, data=ADA).status_code == 400
    assert not accounts.anybody()


def test_sign_up_is_closed_unless_the_house_is_open(client: FlaskClient, alice: Account) -> None:
    assert client.get("/sign-up").status_code == 403
    answer = send(client, "/sign-up", ADA, page="/sign-in")
    assert answer.status_code == 403
    assert "does not take new accounts" in answer.text


def test_an_open_house_takes_new_accounts_as_ordinary_ones(make_app: Callable[..., Flask], alice: Account) -> None:
    client = make_app(sign_up="open").test_client()
    answer = send(client, "/sign-up", {**ADA, "role": "admin", "is_admin": "1", "credits": "9999"})
    assert (answer.status_code, answer.location) == (303, "/")
    ada = session.scalars(select(Account).where(Account.email == ADA["email"])).one()
    assert not ada.is_admin


def test_the_name_is_changed_in_the_settings(client: FlaskClient, alice: Account, sign_in: Callable[..., None]) -> None:
    sign_in(client, alice)
    assert client.post("/settings/profile", data={"name": "Alice B.", "role": "admin"}).status_code == 303
    session.refresh(alice)
    assert (alice.name, alice.role) == ("Alice B.", "user")
    assert "Alice B." in client.get("/settings").text
    refused = client.post("/settings/profile", data={"name": "x" * 101})
    assert refused.status_code == 422
    assert "at most 100" in refused.text and "x" * 101 in refused.text


def test_a_new_password_signs_out_every_other_device_and_not_this_one(
    app: Flask, client: FlaskClient, alice: Account, sign_in: Callable[..., None], settings: Settings
) -> None:
    elsewhere = app.test_client()
    sign_in(elsewhere, alice)
    sign_in(client, alice)
    with transaction():
        tokens = accounts.issue(alice, settings)
    form = {"current_password": PASSWORD, "new_password": "another long password"}
    assert client.post("/settings/password", data=form).location == "/settings"
    assert client.get("/sign-in").location == "/", "this one goes on"
    assert elsewhere.get("/sign-in").status_code == 200, "the other one is out"
    profile = elsewhere.get("/api/v1/users/profile", headers={"Authorization": f"Bearer {tokens.access}"})
    assert profile.status_code == 401


def test_a_password_cannot_be_guessed_from_an_open_session(
    client: FlaskClient, alice: Account, sign_in: Callable[..., None]
) -> None:
    sign_in(client, alice)
    form = {"current_password": "a guess", "new_password": "another long password"}
    answers = [client.post("/settings/password", data=form) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [422] * 5 + [429]
    assert "not your current password" in answers[0].text
    assert "a guess" not in answers[0].text and "another long" not in answers[0].text


def test_signing_out_everywhere_ends_all_sessions(
    app: Flask, client: FlaskClient, alice: Account, sign_in: Callable[..., None]
) -> None:
    elsewhere = app.test_client()
    sign_in(elsewhere, alice)
    sign_in(client, alice)
    assert client.post("/settings/sign-out-everywhere").location == "/sign-in"
    assert client.get("/sign-in").status_code == 200
    assert elsewhere.get("/sign-in").status_code == 200


def test_only_an_administrator_sees_the_installation(
    client: FlaskClient, alice: Account, charlie: Account, sign_in: Callable[..., None], settings: Settings
) -> None:
    sign_in(client, alice)
    assert "This installation" not in client.get("/settings").text
    sign_in(client, charlie)
    page = client.get("/settings").text
    assert "This installation" in page
    assert settings.secret not in page and settings.database_url not in page


def test_a_session_of_a_disabled_account_is_over(
    client: FlaskClient, alice: Account, sign_in: Callable[..., None]
) -> None:
    sign_in(client, alice)
    with transaction():
        alice.disabled_at = alice.created_at
    assert client.get("/settings").location.startswith("/sign-in")


@pytest.mark.parametrize("forged", ["", "1", "1.1.1", "٣.1", "a.b", "-1.1"])
def test_a_session_that_names_nobody_is_a_strangers(client: FlaskClient, alice: Account, forged: str) -> None:
    with client.session_transaction() as cookie:
        cookie["_user_id"] = forged
    assert client.get("/settings").location.startswith("/sign-in")


def test_an_htmx_request_of_a_stranger_leads_the_whole_page_to_sign_in(client: FlaskClient, alice: Account) -> None:
    answer = client.get("/settings", headers={"HX-Request": "true"})
    assert answer.status_code == 401
    assert answer.headers["HX-Redirect"] == "/sign-in"
