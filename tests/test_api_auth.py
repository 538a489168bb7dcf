"""The JSON API's sign-in, its tokens, and how they are attacked."""

import base64
import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import select

from novai_web import accounts, credits
from novai_web.accounts import Account, tokens
from novai_web.config import Settings
from novai_web.db import session, transaction

PASSWORD = "correct horse battery"
ADA = {"email": "ada@example.com", "password": PASSWORD, "name": "Ada"}
AUTH = "/api/v1/auth"


def profile(client: FlaskClient, token: str) -> int:
    return client.get("/api/v1/users/profile", headers={"Authorization": f"Bearer {token}"}).status_code


def log_in(client: FlaskClient, account: Account) -> dict[str, Any]:
    answer = client.post(f"{AUTH}/login", json={"email": account.email, "password": PASSWORD})
    assert answer.status_code == 200
    found: dict[str, Any] = answer.get_json()
    return found


def test_registering_answers_as_promised(client: FlaskClient) -> None:
    answer = client.post(f"{AUTH}/register", json=ADA)
    assert answer.status_code == 201
    body = answer.get_json()
    assert set(body) >= {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert body["token_type"] == "Bearer"
    assert body["expires_in"] == 900
    assert body["user"].items() >= {"email": "ada@example.com", "name": "Ada", "role": "admin"}.items()
    assert isinstance(body["user"]["id"], int)
    assert profile(client, body["access_token"]) == 200


def test_signing_in_answers_the_same(client: FlaskClient, alice: Account) -> None:
    body = log_in(client, alice)
    assert set(body) == {"access_token", "refresh_token", "token_type", "expires_in", "user"}
    assert body["user"]["role"] == "user"
    assert "Set-Cookie" not in client.post(f"{AUTH}/login", json={"email": "x", "password": "y"}).headers


@pytest.mark.parametrize("email", ["alice@example.com", "nobody@example.com", "x", "a\0b@example.com"])
def test_a_refused_sign_in_is_the_same_problem_for_known_and_unknown_people(
    client: FlaskClient, alice: Account, email: str
) -> None:
    answer = client.post(f"{AUTH}/login", json={"email": email, "password": "wrong password"})
    assert answer.status_code == 401
    body = answer.get_json()
    body.pop("request_id")
    assert body == {
        "type": "/api/docs#error-wrong_sign_in",
        "title": "Not signed in",
        "status": 401,
        "code": "wrong_sign_in",
        "detail": "This e-mail and this password do not belong together. Check both and try again.",
        "errors": [],
    }


def test_a_refresh_token_gives_new_tokens_once(client: FlaskClient, alice: Account) -> None:
    first = log_in(client, alice)
    answer = client.post(f"{AUTH}/refresh-token", json={"refresh_token": first["refresh_token"]})
    assert answer.status_code == 200
    second = answer.get_json()
    assert second["refresh_token"] != first["refresh_token"]
    assert profile(client, second["access_token"]) == 200

    reused = client.post(f"{AUTH}/refresh-token", json={"refresh_token": first["refresh_token"]})
    assert reused.status_code == 401
    ended = client.post(f"{AUTH}/refresh-token", json={"refresh_token": second["refresh_token"]})
    assert ended.status_code == 401, "a reuse ends the whole family, and is committed although it is refused"
    assert profile(client, second["access_token"]) == 401


@pytest.mark.parametrize("token", ["", "x", "\ud800", "\0", "ey.ey.ey", "x" * 10_000])
def test_a_made_up_refresh_token_is_refused(client: FlaskClient, alice: Account, token: str) -> None:
    assert client.post(f"{AUTH}/refresh-token", json={"refresh_token": token}).status_code in (401, 422)


@pytest.mark.parametrize("by", ["refresh", "access"])
def test_signing_out_ends_this_sign_in_at_once_and_no_other(client: FlaskClient, alice: Account, by: str) -> None:
    here, there = log_in(client, alice), log_in(client, alice)
    if by == "refresh":
        answer = client.post(f"{AUTH}/logout", json={"refresh_token": here["refresh_token"]})
    else:
        answer = client.post(f"{AUTH}/logout", headers={"Authorization": f"Bearer {here['access_token']}"})
    assert answer.status_code == 204
    assert profile(client, here["access_token"]) == 401
    assert client.post(f"{AUTH}/refresh-token", json={"refresh_token": here["refresh_token"]}).status_code == 401
    assert profile(client, there["access_token"]) == 200


def test_signing_out_needs_something_to_sign_out_and_twice_is_fine(client: FlaskClient, alice: Account) -> None:
    assert client.post(f"{AUTH}/logout").status_code == 401
    body = {"refresh_token": log_in(client, alice)["refresh_token"]}
    assert [client.post(f"{AUTH}/logout", json=body).status_code for _ in range(2)] == [204, 204]


def test_the_profile_is_read_and_changed(client: FlaskClient, alice: Account, bearer: Callable[..., Any]) -> None:
    me = bearer(alice)
    answer = client.get("/api/v1/users/profile", headers=me)
    assert (
        answer.get_json().items()
        >= {"id": alice.id, "email": alice.email, "name": "Alice Owner", "role": "user"}.items()
    )
    answer = client.put("/api/v1/users/profile", headers=me, json={"name": "  Alice B. "})
    assert answer.status_code == 200
    assert answer.get_json()["name"] == "Alice B."
    assert client.get("/api/v1/users/profile", headers=me).get_json()["name"] == "Alice B."


@pytest.mark.parametrize(
    "field", ["role", "is_admin", "credits", "available", "session_version", "id", "email", "disabled_at"]
)
def test_nobody_gives_themselves_more_than_a_name(
    client: FlaskClient, alice: Account, bearer: Callable[..., Any], settings: Settings, field: str
) -> None:
    answer = client.put("/api/v1/users/profile", headers=bearer(alice), json={"name": "Eve", field: "admin"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["errors"]] == [field]
    session.expire_all()
    assert (alice.name, alice.role) == ("Alice Owner", "user")
    assert credits.balance(alice, settings).available == settings.starting_credits


@pytest.mark.parametrize("field", ["role", "is_admin", "credits", "id", "session_version"])
def test_nobody_registers_as_more_than_they_are(make_app: Callable[..., Flask], alice: Account, field: str) -> None:
    client = make_app(sign_up="open").test_client()
    answer = client.post(f"{AUTH}/register", json={**ADA, field: "admin"})
    assert answer.status_code == 422
    assert [error["field"] for error in answer.get_json()["errors"]] == [field]
    assert session.scalars(select(Account.email)).all() == [alice.email]


def test_a_closed_house_takes_nobody(client: FlaskClient, alice: Account) -> None:
    answer = client.post(f"{AUTH}/register", json=ADA)
    assert answer.status_code == 403
    assert answer.get_json()["code"] == "forbidden"


def test_a_wrong_registration_names_every_field_and_repeats_no_password(client: FlaskClient) -> None:
    answer = client.post(f"{AUTH}/register", json={"email": "x", "password": "hunter2", "name": ""})
    assert answer.status_code == 422
    assert {error["field"] for error in answer.get_json()["errors"]} == {"email", "password", "name"}
    assert "hunter2" not in answer.text


def claims(account: Account, **changed: Any) -> dict[str, Any]:
    now = int(time.time())
    found = {
        "iss": tokens.ISSUER,
        "aud": tokens.AUDIENCE,
        "sub": str(account.id),
        "iat": now,
        "exp": now + 600,
        "ver": account.session_version,
        "fam": "f" * 32,
    }
    return {name: value for name, value in {**found, **changed}.items() if value is not None}


def unsigned(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    parts = (json.dumps(header).encode(), json.dumps(body).encode(), signature)
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def test_the_token_that_the_attacks_start_from_is_good(client: FlaskClient, alice: Account, settings: Settings) -> None:
    assert profile(client, jwt.encode(claims(alice), tokens._key(settings), algorithm="HS256")) == 200


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", [b"", b"x" * 32])
def test_an_unsigned_token_is_nobody(client: FlaskClient, alice: Account, algorithm: str, signature: bytes) -> None:
    assert profile(client, unsigned({"alg": algorithm, "typ": "JWT"}, claims(alice), signature)) == 401


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_another_algorithm_is_refused_even_with_the_right_key(
    client: FlaskClient, alice: Account, settings: Settings, algorithm: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        forged = jwt.encode(claims(alice), tokens._key(settings), algorithm=algorithm)
    assert profile(client, forged) == 401


def test_the_key_that_signs_sessions_does_not_sign_tokens(
    client: FlaskClient, alice: Account, settings: Settings
) -> None:
    assert profile(client, jwt.encode(claims(alice), settings.secret, algorithm="HS256")) == 401
    assert profile(client, jwt.encode(claims(alice), "\0" * 32, algorithm="HS256")) == 401


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "oct", "k": "eHh4"}},
        {"kid": "../../dev/null"},
        {"jku": "//evil.example"},
    ],
)
def test_a_key_named_by_the_token_itself_is_not_used(
    client: FlaskClient, alice: Account, header: dict[str, Any]
) -> None:
    assert profile(client, jwt.encode(claims(alice), "x" * 32, algorithm="HS256", headers=header)) == 401


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "another-api"},
        {"aud": None},
        {"iss": "somebody else"},
        {"iss": None},
        {"exp": 1},
        {"exp": None},
        {"ver": None},
        {"ver": 0},
        {"ver": 2},
        {"fam": None},
        {"sub": None},
        {"sub": "0"},
        {"iat": 2**33},
    ],
    ids=str,
)
def test_a_token_of_another_kind_is_refused_although_it_is_signed(
    client: FlaskClient, alice: Account, settings: Settings, changed: dict[str, Any]
) -> None:
    assert profile(client, jwt.encode(claims(alice, **changed), tokens._key(settings), algorithm="HS256")) == 401


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "x" * 10_000, "ÿ", "e30.e30.e30"])
def test_garbage_is_nobody(client: FlaskClient, alice: Account, token: str) -> None:
    assert profile(client, token) == 401


def test_a_token_counts_and_not_the_session_beside_it(
    client: FlaskClient, alice: Account, bob: Account, sign_in: Callable[..., None], bearer: Callable[..., Any]
) -> None:
    sign_in(client, alice)
    assert client.get("/api/v1/users/profile", headers=bearer(bob)).get_json()["id"] == bob.id
    assert profile(client, "no good") == 401


def test_a_browsers_session_may_use_the_api_but_changes_need_the_pages_token(
    client: FlaskClient, alice: Account, sign_in: Callable[..., None]
) -> None:
    sign_in(client, alice)
    assert client.put("/api/v1/users/profile", json={"name": "Alice B."}).status_code == 200
    del client.environ_base["HTTP_X_CSRFTOKEN"]
    assert client.get("/api/v1/users/profile").get_json()["name"] == "Alice B."
    assert client.put("/api/v1/users/profile", json={"name": "Mallory"}).status_code == 400
    answer = client.put("/api/v1/users/profile", json={"name": "Mallory"}, headers={"Authorization": "Basic eDp5"})
    assert answer.status_code == 400, "another kind of authorization is not a token"


def test_a_token_is_for_the_api_and_not_for_pages(
    client: FlaskClient, alice: Account, bearer: Callable[..., Any]
) -> None:
    assert client.get("/settings", headers=bearer(alice)).location.startswith("/sign-in")


def test_a_disabled_account_is_told_so_only_with_the_right_password(client: FlaskClient, alice: Account) -> None:
    with transaction():
        alice.disabled_at = alice.created_at
    body = {"email": alice.email, "password": PASSWORD}
    assert client.post(f"{AUTH}/login", json=body).status_code == 403
    assert client.post(f"{AUTH}/login", json={**body, "password": "wrong password"}).status_code == 401


def test_refresh_tokens_are_kept_as_hashes_only(client: FlaskClient, alice: Account) -> None:
    token = log_in(client, alice)["refresh_token"]
    kept = session.scalars(select(accounts.RefreshToken.token_hash)).all()
    assert kept and token not in kept
