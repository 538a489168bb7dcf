"""Whatever goes wrong, the API says it in one shape."""

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy.exc import PendingRollbackError
from werkzeug.test import TestResponse

from novai_web.accounts import Account
from novai_web.web.errors import ours

HUGE = b'{"name": "' + b"x" * (5 * 1024 * 1024) + b'"}'


def problem(answer: TestResponse, status: int) -> dict[str, Any]:
    """The problem of an answer, if it has the promised shape."""
    assert answer.status_code == status, answer.text[:500]
    assert answer.mimetype == "application/problem+json"
    body: dict[str, Any] = answer.get_json()
    assert set(body) >= {"type", "title", "status", "code", "detail", "errors"}
    assert body["status"] == status
    assert body["type"] == f"/api/docs#error-{body['code']}"
    assert body["detail"] and "Traceback" not in answer.text
    return body


def api_routes(app: Flask) -> list[tuple[str, str]]:
    return [
        (method, rule.rule.replace("<int:", "<").replace("<slug>", "variants"))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/v1/") and not rule.rule.startswith("/api/v1/auth/")
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if rule.endpoint != "api_description.description"
    ]


def filled(path: str) -> str:
    """A route with 1 for each of its parts."""
    return "/".join("1" if part.startswith("<") else part for part in path.split("/"))


def test_every_endpoint_tells_a_stranger_to_sign_in(make_app: Callable[..., Flask], alice: Account) -> None:
    app = make_app(api_limit="10000 per minute", read_limit="10000 per minute", upload_limit="10000 per minute")
    client = app.test_client()
    for method, path in api_routes(app):
        if (method, path) == ("OPTIONS", "/api/v1/uploads"):
            continue
        body = problem(client.open(filled(path), method=method, json={}), 401)
        assert body["code"] == "sign_in_needed", f"{method} {path}"
    answer = client.get("/api/v1/users/profile")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "url", ["/api/", "/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/jobs", "/api/v1/jobs/x/y/z"]
)
def test_what_does_not_exist_is_a_404(client: FlaskClient, url: str) -> None:
    assert problem(client.get(url), 404)["code"] == "not_found"


def test_a_wrong_method_is_a_405(client: FlaskClient) -> None:
    answer = client.delete("/api/v1/auth/login")
    problem(answer, 405)
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"null", "application/json"),
        (b'"x"', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b"name=x", "application/x-www-form-urlencoded"),
        (b'{"name": "x"}', "text/plain"),
        (b'{"name": NaN, "name": "x"', "application/json"),
    ],
)
def test_a_body_that_is_no_json_object_is_a_422(
    client: FlaskClient, alice: Account, bearer: Callable[..., Any], body: bytes, kind: str
) -> None:
    answer = client.put("/api/v1/users/profile", headers=bearer(alice), data=body, content_type=kind)
    assert problem(answer, 422)["errors"][0]["field"] == "body"


@pytest.mark.parametrize("name", [1, None, [], {}, True, "x" * 101, "", "a\0b", "a\nb", "\ud800"])
def test_a_wrong_field_is_named(client: FlaskClient, alice: Account, bearer: Callable[..., Any], name: Any) -> None:
    answer = client.put("/api/v1/users/profile", headers=bearer(alice), json={"name": name})
    (error,) = problem(answer, 422)["errors"]
    assert error["field"] == "name" and error["message"]


def test_a_missing_field_is_named_also_when_there_is_no_body_at_all(
    client: FlaskClient, alice: Account, bearer: Callable[..., Any]
) -> None:
    answer = client.put("/api/v1/users/profile", headers=bearer(alice))
    assert [error["field"] for error in problem(answer, 422)["errors"]] == ["name"]


@pytest.mark.parametrize("url", ["/api/v1/auth/login", "/api/v1/auth/register", "/api/v1/auth/logout"])
def test_a_body_that_is_too_large_is_a_413(client: FlaskClient, alice: Account, url: str) -> None:
    problem(client.post(url, data=HUGE, content_type="application/json"), 413)


def test_too_often_is_a_429_that_says_when_to_come_back(make_app: Callable[..., Flask], alice: Account) -> None:
    client = make_app(read_limit="2 per minute").test_client()
    answers = [client.get("/api/v1/users/profile") for _ in range(3)]
    problem(answers[-1], 429)
    assert int(answers[-1].headers["Retry-After"]) > 0


def test_a_database_that_is_away_is_a_503_that_says_when_to_come_back(make_app: Callable[..., Flask]) -> None:
    client = make_app(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none").test_client()
    answer = client.post("/api/v1/auth/login", json={"email": "ada@example.com", "password": "correct horse"})
    problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


def test_a_page_says_so_too_when_the_database_is_away(make_app: Callable[..., Flask]) -> None:
    client = make_app(database_url="postgresql+psycopg://nobody@127.0.0.1:1/none").test_client()
    answer = client.get("/sign-in")
    assert answer.status_code == 503
    assert answer.mimetype == "text/html"
    assert "not answering" in answer.text
    fragment = client.get("/sign-in", headers={"HX-Request": "true"})
    assert fragment.status_code == 503
    assert fragment.headers["HX-Retarget"] == "#messages"
    assert "<html" not in fragment.text


def test_what_fails_because_the_connection_was_lost_before_is_a_database_that_is_away(app: Flask) -> None:
    with app.test_request_context("/jobs"):
        assert ours(PendingRollbackError("rolled back")).status == 503
