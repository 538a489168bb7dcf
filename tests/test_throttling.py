"""How often one may try to sign in, whatever one says about oneself."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from novai_web.accounts import Account
from novai_web.web import limits

WRONG = {"email": "alice@example.com", "password": "wrong password"}


def guess(client: FlaskClient, email: str = WRONG["email"], **sent: Any) -> int:
    return client.post("/api/v1/auth/login", json={**WRONG, "email": email}, **sent).status_code


def test_the_sixth_try_from_one_address_has_to_wait(client: FlaskClient, alice: Account) -> None:
    assert [guess(client, f"person{n}@example.com") for n in range(6)] == [401] * 5 + [429]
    answer = client.post("/api/v1/auth/login", json=WRONG)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.get_json()["code"] == "too_many_requests"


def test_the_sixth_try_at_one_account_has_to_wait_whatever_the_address(client: FlaskClient, alice: Account) -> None:
    tries = [guess(client, environ_base={"REMOTE_ADDR": f"192.0.2.{n}"}) for n in range(6)]
    assert tries == [401] * 5 + [429]


SPELLINGS = [
    "alice@example.com",
    "ALICE@example.com",
    " alice@example.com",
    "alice@ｅxample.com",
    "alice@eｘample.com",
    "alice@exａmple.com",
]


def test_another_spelling_of_an_address_is_not_another_account_to_try(client: FlaskClient, alice: Account) -> None:
    tries = [guess(client, each, environ_base={"REMOTE_ADDR": f"192.0.2.{n}"}) for n, each in enumerate(SPELLINGS)]
    assert tries == [401] * 5 + [429]


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "CF-Connecting-IP", "True-Client-IP"])
def test_a_forged_address_does_not_lift_the_limit(client: FlaskClient, alice: Account, header: str) -> None:
    tries = [guess(client, f"person{n}@example.com", headers={header: f"198.51.100.{n}"}) for n in range(6)]
    assert tries == [401] * 5 + [429]


def test_behind_a_trusted_proxy_only_what_that_proxy_wrote_counts(
    make_app: Callable[..., Flask], alice: Account
) -> None:
    client = make_app(proxies=1).test_client()
    forged = [
        guess(client, f"person{n}@example.com", headers={"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.7"})
        for n in range(6)
    ]
    assert forged == [401] * 5 + [429]
    assert guess(client, "other@example.com", headers={"X-Forwarded-For": "203.0.113.8"}) == 401


def test_all_doors_count_together(client: FlaskClient, alice: Account) -> None:
    assert [guess(client) for _ in range(3)] == [401] * 3
    body = {"email": "new@example.com", "password": "correct horse battery", "name": "New"}
    assert [client.post("/api/v1/auth/register", json=body).status_code for _ in range(2)] == [403] * 2
    token = re.search(r'name="csrf_token" value="([^"]+)"', client.get("/sign-in").text)
    assert token
    assert client.post("/sign-in", data={**WRONG, "csrf_token": token[1]}).status_code == 429


@pytest.mark.parametrize(
    "sent",
    [
        {"data": b"x" * (5 * 1024 * 1024), "content_type": "application/json"},
        {"data": b"{", "content_type": "application/json"},
        {"data": b"[1]", "content_type": "application/json"},
        {"json": {"email": ["a"], "password": {"b": 1}}},
        {"json": {"email": "\ud800@example.com", "password": "x"}},
        {"data": b"\xff\xfe", "content_type": "application/json; charset=utf-7"},
        {"data": b"--x", "content_type": "multipart/form-data; boundary=x"},
    ],
    ids=["huge", "cut", "list", "wrong types", "half a character", "charset", "multipart"],
)
def test_a_body_that_cannot_be_read_does_not_lift_the_limit(
    client: FlaskClient, alice: Account, sent: dict[str, Any]
) -> None:
    assert client.post("/api/v1/auth/login", **sent).status_code in (401, 413, 422)
    tries = [guess(client) for _ in range(5)]
    assert tries == [401] * 4 + [429]


def test_reading_the_page_is_not_a_try(client: FlaskClient, alice: Account) -> None:
    assert {client.get("/sign-in").status_code for _ in range(10)} == {200}


def test_the_limit_stands_while_redis_is_away(make_app: Callable[..., Flask], alice: Account) -> None:
    client = make_app(redis_url="redis://127.0.0.1:1/0").test_client()
    assert [guess(client) for _ in range(6)] == [401] * 5 + [429]


def test_an_error_of_the_database_is_not_taken_for_one_of_the_counting(
    make_app: Callable[..., Flask], as_alice: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    client = make_app(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none").test_client()
    limits.limiter.logger.addHandler(caplog.handler)
    assert client.get("/api/v1/jobs", headers=as_alice).status_code == 503
    limits.limiter.logger.removeHandler(caplog.handler)
    assert "storage unreachable" not in caplog.text
    assert client.get("/health").status_code == 200
