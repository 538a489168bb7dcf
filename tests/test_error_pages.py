"""Errors as people meet them: each page says what happened and offers the one thing that helps."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from novai_web.accounts import Account

HERE = "http://localhost"


@pytest.fixture
def visit(client: FlaskClient, alice: Account, sign_in: Callable[[FlaskClient, Account], None]) -> FlaskClient:
    sign_in(client, alice)
    return client


def test_what_is_not_there_leads_to_the_dashboard_and_to_the_search_and_is_not_tried_again(visit):
    page = visit.get("/assets/999999")
    assert page.status_code == 404 and "It may have been deleted" in page.text
    assert "To the dashboard" in page.text and 'href="/search"' in page.text
    assert "Try again" not in page.text and "Reference" not in page.text


def test_a_stranger_is_led_to_the_first_page_and_learns_nothing(client, alice):
    page = client.get("/nothing")
    assert page.status_code == 404 and "To the first page" in page.text
    assert "Search your things" not in page.text


def test_what_a_form_led_to_goes_back_to_the_page_of_the_form(visit):
    page = visit.post("/library/zip", data={"kind": "video"}, headers={"Referer": f"{HERE}/videos?q=sea"})
    assert page.status_code == 422
    assert 'href="/videos?q=sea"' in page.text and "Back to where you were" in page.text
    assert "Try again" not in page.text, "which would ask for a page that there is not"


@pytest.mark.parametrize("referrer", ["https://evil.example/", f"{HERE}//evil.example", "", f"{HERE}/library/zip"])
def test_nobody_is_led_to_another_site_or_round_in_a_circle(visit, referrer):
    page = visit.post("/library/zip", data={"kind": "video"}, headers={"Referer": referrer})
    assert "Back to where you were" not in page.text and "evil.example" not in page.text


def test_a_closed_house_says_whom_to_ask_and_lets_people_sign_in(client, alice):
    page = client.get("/sign-up")
    assert page.status_code == 403 and "Ask its administrator" in page.text
    assert 'href="/sign-in"' in page.text


def test_too_often_says_when_it_is_worth_trying_again(make_app: Callable[..., Flask], alice, sign_in):
    client = make_app(read_limit="2 per minute").test_client()
    sign_in(client, alice)
    page = [client.get("/search/results?q=x") for _ in range(3)][-1]
    assert page.status_code == 429 and "It is worth trying again in" in page.text
    assert "Try again</a>" in page.text


def test_the_first_wrong_field_has_the_focus_without_any_script(client):
    token = client.get("/setup").text.split('name="csrf_token" value="')[1].split('"')[0]
    wrong = {"name": "Ada", "email": "nowhere", "password": "short", "csrf_token": token}
    page = client.post("/setup", data=wrong).text
    assert page.count(" autofocus") == 1
    assert 'id="email"' in page.split(" autofocus")[0].rsplit("<input", 1)[1]
