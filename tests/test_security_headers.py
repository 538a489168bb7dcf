"""What every answer carries so that a browser guards the people here."""

from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr

from novai_web.accounts import Account
from novai_web.pages.static_files import STATIC

EVERY = [
    "/sign-in",
    "/setup",
    "/nothing",
    "/health",
    "/api/v1/nothing",
    "/api/v1/users/profile",
    "/api/docs",
    "/static/nothing",
]


@pytest.mark.parametrize("url", EVERY)
def test_every_answer_is_protected(client: FlaskClient, alice: Account, url: str) -> None:
    headers = client.get(url).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["X-Request-Id"]
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("url", ["/sign-in", "/settings", "/api/v1/users/profile", "/ready"])
def test_what_belongs_to_somebody_stays_in_no_cache(client: FlaskClient, alice: Account, url: str) -> None:
    assert client.get(url).headers["Cache-Control"] == "private, no-store"


def test_the_session_cookie_is_out_of_reach(client: FlaskClient, alice: Account) -> None:
    cookie = client.get("/sign-in").headers["Set-Cookie"]
    assert cookie.startswith("novai=")
    assert "HttpOnly" in cookie and "SameSite=Lax" in cookie


def test_over_https_the_cookie_and_the_connection_are_bound_to_it(
    make_app: Callable[..., Flask], alice: Account
) -> None:
    client = make_app(public_url="https://novai.example").test_client()
    answer = client.get("/sign-in", base_url="https://novai.example")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-novai=") and "Secure" in cookie and "Path=/" in cookie and "Domain" not in cookie
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_another_host_is_refused_when_ours_is_known(make_app: Callable[..., Flask], alice: Account) -> None:
    client = make_app(public_url="https://novai.example").test_client()
    assert client.get("/sign-in", base_url="https://evil.example").status_code == 400


def test_pictures_and_videos_may_come_from_the_storage_and_scripts_may_not(make_app: Callable[..., Flask]) -> None:
    app = make_app(supabase_url="https://abc.supabase.co", supabase_key=SecretStr("key"))
    policy = app.test_client().get("/health").headers["Content-Security-Policy"]
    assert "media-src 'self' blob: https://abc.supabase.co" in policy
    assert "script-src 'self';" in policy


def test_a_request_id_is_kept_only_if_it_can_do_no_harm(client: FlaskClient) -> None:
    assert client.get("/health", headers={"X-Request-Id": "abc123"}).headers["X-Request-Id"] == "abc123"
    for forged in ("a b", "x" * 65, "<script>", "é"):
        assert client.get("/health", headers={"X-Request-Id": forged}).headers["X-Request-Id"] != forged


def test_built_files_are_kept_for_good_and_the_rest_is_asked_for_again(client: FlaskClient) -> None:
    (script,) = (STATIC / "dist").glob("app-*.js")
    answer = client.get(f"/static/dist/{script.name}")
    assert answer.status_code == 200
    assert answer.mimetype in ("text/javascript", "application/javascript")
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "immutable" not in client.get("/static/dist/manifest.json").headers["Cache-Control"]
    assert client.get("/favicon.ico", follow_redirects=True).mimetype == "image/svg+xml"


@pytest.mark.parametrize(
    "path", ["../wsgi.py", "..%2fwsgi.py", "dist/../../wsgi.py", "%2e%2e/wsgi.py", "/etc/passwd", "dist/", "x\0"]
)
def test_static_files_come_from_their_folder_only(client: FlaskClient, path: str) -> None:
    assert client.get(f"/static/{path}").status_code in (404, 308)
