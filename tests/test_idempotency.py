"""Sending the same thing twice: a replay, a double click, fifty at once, a retry after a lost answer."""

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web import failpoints, jobs
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import IdempotencyMismatch, InvalidInput
from novai_web.jobs import housekeeping
from novai_web.tools import echo

URL = "/api/v1/tools/echo/jobs"
FORM = {"copies": "3", "per_job": "1", "credits": "2", "seconds": "0", "trouble": "none"}


@pytest.fixture(autouse=True)
def _books_are_right(app: Flask) -> Iterator[None]:
    yield
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def post(client: FlaskClient, as_alice: dict[str, str]) -> Callable[..., TestResponse]:
    """`post("key", copies=2)`: a submit through the API."""

    def send(key: str, **given: Any) -> TestResponse:
        return client.post(URL, json={"copies": 2, "credits": 1, **given}, headers=as_alice | {"Idempotency-Key": key})

    return send


def count(table: str, where: str = "true") -> int:
    session.rollback()
    return session.scalar(text(f"SELECT count(*) FROM {table} WHERE {where}")) or 0


def held() -> int:
    session.rollback()
    return session.scalar(text("SELECT sum(held) FROM wallets")) or 0


def test_a_replay_answers_the_same_as_long_as_it_likes_and_whatever_became_of_the_job(post, work):
    first = post("k")
    work()
    again = post("k")
    assert first.status_code == again.status_code == 202 and first.json == again.json
    assert count("jobs") == 1 and count("entries", "kind = 'reserve'") == 1 and held() == 0


def test_a_replay_after_the_job_was_cancelled_starts_nothing(post, client, as_alice):
    first = post("k")
    client.delete(first.json["jobs"][0]["status_url"], headers=as_alice)
    assert post("k").json == first.json
    assert count("jobs") == 1 and held() == 0


def test_a_replay_after_a_retry_still_names_what_the_first_submit_made(post, client, as_alice, work):
    first = post("k", trouble="refuse")
    work()
    again = client.post(f"{first.json['jobs'][0]['status_url']}/retry", headers=as_alice)
    assert again.status_code == 202 and again.json["id"] != first.json["jobs"][0]["id"]
    assert post("k", trouble="refuse").json == first.json


@pytest.mark.parametrize("other", [{"copies": 3}, {"credits": 2}, {"lost": [0]}, {"seconds": 0.5}])
def test_another_body_under_the_same_key_is_refused_and_moves_nothing(post, other):
    first = post("k")
    refused = post("k", **other)
    assert refused.status_code == 422 and refused.json["code"] == "idempotency_mismatch"
    assert count("jobs") == 1 and held() == 2
    assert post("k").json == first.json, "the first submit is still what the key means"


def test_the_order_in_which_fields_are_sent_makes_no_other_body(client, as_alice):
    keyed = as_alice | {"Idempotency-Key": "k", "Content-Type": "application/json"}
    first = client.post(URL, data='{"copies": 2, "credits": 1}', headers=keyed)
    again = client.post(URL, data='{"credits": 1,   "copies": 2}', headers=keyed)
    assert first.json == again.json and first.status_code == 202


def test_a_key_belongs_to_one_tool(app, alice, settings):
    from dataclasses import replace

    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings, key="k")
    with pytest.raises(IdempotencyMismatch), transaction():
        jobs.submit(alice, replace(echo.tool, slug="another"), {"copies": 1}, settings, key="k")


@pytest.mark.parametrize("key", ["x" * 201, "line\nbreak", "nul\0", "bell\a"])
def test_a_key_that_cannot_be_one_is_refused_by_its_name(app, alice, settings, key):
    with pytest.raises(InvalidInput) as refused, transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings, key=key)
    assert set(refused.value.fields) == {"Idempotency-Key"} and count("jobs") == 0


def test_fifty_requests_at_once_with_one_key_all_get_the_one_answer(app, as_alice):
    def send() -> TestResponse:
        headers = as_alice | {"Idempotency-Key": "the same"}
        return app.test_client().post(URL, json={"copies": 5, "per_job": 2, "credits": 3}, headers=headers)

    session.rollback()
    with ThreadPoolExecutor(max_workers=16) as threads:
        answers = [done.result() for done in [threads.submit(send) for _ in range(50)]]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert count("batches") == 1 and count("jobs") == 3 and held() == 15


def test_of_two_bodies_racing_for_one_key_one_wins_and_the_other_is_refused(app, as_alice):
    def send(copies: int) -> int:
        headers = as_alice | {"Idempotency-Key": "the same"}
        return app.test_client().post(URL, json={"copies": copies}, headers=headers).status_code

    session.rollback()
    with ThreadPoolExecutor(max_workers=16) as threads:
        codes = list(threads.map(send, [1, 2] * 10))
    assert sorted(codes) == [202] * 10 + [422] * 10 and count("jobs") == 1


def test_an_answer_that_is_lost_after_the_commit_is_had_by_sending_it_again(post, tmp_path, make_app, as_alice):
    """The web process falls right after the commit: the client knows nothing, and sends it once more."""
    failpoints.watch(tmp_path)
    try:
        failpoints.arm(tmp_path, "create.after_commit", "raise")
        fallen = make_app().test_client()
        fallen.application.config["PROPAGATE_EXCEPTIONS"] = False
        fallen.application.testing = False
        lost = fallen.post(URL, json={"copies": 2, "credits": 1}, headers=as_alice | {"Idempotency-Key": "k"})
    finally:
        failpoints.watch(None)
    assert lost.status_code == 500 and count("jobs") == 1
    assert post("k").status_code == 202 and count("jobs") == 1 and held() == 2


def test_a_submit_that_falls_before_its_commit_leaves_its_key_free(post, tmp_path, app, alice, settings):
    failpoints.watch(tmp_path)
    try:
        failpoints.arm(tmp_path, "create.before_commit", "raise")
        with pytest.raises(failpoints.Fault), transaction():
            jobs.submit(alice, echo.tool, {"copies": 2, "credits": 1}, settings, key="api:k")
    finally:
        failpoints.watch(None)
    assert count("jobs") == count("submissions") == held() == 0
    assert post("k").status_code == 202 and count("jobs") == 1


def test_a_connection_that_is_cut_after_the_commit_costs_the_client_nothing(post, tmp_path, alice, settings):
    failpoints.watch(tmp_path)
    try:
        failpoints.arm(tmp_path, "create.after_bell", "cut")
        first = post("k")
    finally:
        failpoints.watch(None)
    session.remove()
    assert first.status_code in (202, 503)
    again = post("k")
    assert again.status_code == 202 and count("jobs") == 1 and held() == 2


# --- Forms ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def page(client: FlaskClient, alice, sign_in) -> FlaskClient:
    sign_in(client, alice)
    return client


def key_of(page: FlaskClient) -> str:
    """What a rendering of the form carries, unseen."""
    (key,) = re.findall(r'name="form_key" value="([^"]+)"', page.get("/tools/echo").text)
    return str(key)


def test_a_double_click_starts_one_batch_and_leads_to_it_twice(page):
    form = FORM | {"form_key": key_of(page)}
    first, second = (page.post("/tools/echo/jobs", data=form) for _ in range(2))
    assert first.status_code == second.status_code == 303 and first.location == second.location
    assert count("batches") == 1 and count("jobs") == 3 and held() == 6


def test_twenty_clicks_at_once_start_one_batch(app, page, alice, sign_in):
    form = FORM | {"form_key": key_of(page)}
    clients = [app.test_client() for _ in range(20)]
    for each in clients:
        sign_in(each, alice)
    session.rollback()
    with ThreadPoolExecutor(max_workers=16) as threads:
        answers = list(threads.map(lambda each: each.post("/tools/echo/jobs", data=form), clients))
    assert {answer.status_code for answer in answers} == {303}
    assert len({answer.location for answer in answers}) == 1
    assert count("batches") == 1 and held() == 6


def test_each_rendering_of_a_form_may_start_its_own(page):
    keys = [key_of(page) for _ in range(2)]
    assert keys[0] != keys[1]
    places = {page.post("/tools/echo/jobs", data=FORM | {"form_key": key}).location for key in keys}
    assert len(places) == 2 and count("batches") == 2


def test_a_form_that_was_refused_comes_back_with_another_key_and_can_be_sent(page):
    key = key_of(page)
    refused = page.post("/tools/echo/jobs", data=FORM | {"form_key": key, "copies": "0"})
    assert refused.status_code == 422 and count("submissions") == 0
    (fresh,) = re.findall(r'name="form_key" value="([^"]+)"', refused.text)
    assert fresh != key
    assert page.post("/tools/echo/jobs", data=FORM | {"form_key": fresh}).status_code == 303


def test_a_form_that_is_changed_and_sent_with_its_old_key_is_refused(page):
    """As after going back in the browser: what is on the screen is not what the key means."""
    key = key_of(page)
    assert page.post("/tools/echo/jobs", data=FORM | {"form_key": key}).status_code == 303
    answer = page.post("/tools/echo/jobs", data=FORM | {"form_key": key, "copies": "4"})
    assert answer.status_code == 422 and count("batches") == 1 and held() == 6


def test_keys_of_forms_and_keys_of_the_api_never_meet(page, post):
    assert post("k", copies=3, per_job=1, credits=2).status_code == 202
    assert page.post("/tools/echo/jobs", data=FORM | {"form_key": "k"}).status_code == 303
    assert count("batches") == 2 and set(session.scalars(text("SELECT key FROM submissions"))) == {"api:k", "form:k"}


# --- How long a key is remembered ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("days", "batches"), [(6, 1), (8, 2)])
def test_a_key_is_remembered_for_a_week(post, settings, days, batches):
    post("k")
    with transaction():
        session.execute(text("UPDATE submissions SET created_at = now() - make_interval(days => :n)"), {"n": days})
    housekeeping.keep_house(open_store(settings), settings)
    assert post("k").status_code == 202 and count("batches") == batches


# --- Trying again --------------------------------------------------------------------------------------------------


def test_trying_again_is_asked_for_by_twenty_at_once_and_done_once(app, as_alice, post, work):
    failed = post("k", trouble="refuse").json["jobs"][0]
    work()

    def retry() -> TestResponse:
        return app.test_client().post(f"{failed['status_url']}/retry", headers=as_alice)

    session.rollback()
    with ThreadPoolExecutor(max_workers=16) as threads:
        answers = [done.result() for done in [threads.submit(retry) for _ in range(20)]]
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert count("jobs") == 2 and held() == 2
