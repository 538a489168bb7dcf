"""Every address there is, asked for by its owner, a stranger, an administrator, somebody disabled, and nobody."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.routing import Rule

from novai_web import consents, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import open_store
from novai_web.library import collections, hooks, presets, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Hook
from novai_web.tools import echo
from tests.things import put

# For everybody: signing in, being alive, the description of the API.
PUBLIC = {
    "static", "favicon", "health.health", "health.ready", "api_description.description", "api_docs.page",
    "accounts.setup", "accounts.make_administrator", "accounts.sign_in", "accounts.start_session",
    "accounts.sign_up", "accounts.make_account", "accounts.sign_out",
    "api_auth.post_log_in", "api_auth.post_register", "api_auth.post_refresh_token", "api_auth.post_log_out",
    "webhooks.fal", "webhooks.wave_speed",
}  # fmt: skip
CHANGES = ("POST", "PUT", "PATCH", "DELETE")


def rules(app: Flask) -> list[tuple[Rule, str]]:
    found = [(rule, method) for rule in app.url_map.iter_rules() for method in sorted(rule.methods or ())]
    return [
        (rule, method) for rule, method in found if method not in ("HEAD", "OPTIONS") and rule.endpoint not in PUBLIC
    ]


@pytest.fixture
def things(app: Flask, alice: Account, settings: Settings) -> dict[str, Any]:
    """One of everything, all Alice's, by the name it has in an address."""
    library = Library(alice.id)
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 1}, settings)
        hook = hooks.add(library, ["Look at this"], "").hooks[0]
        collection = collections.add(library, "video", "Summer")
        preset = presets.save(library, "variants", "Mine", {"hook_size": 9})
        consent = consents.give(library, who="Anna", how="Look at this release")
    with transaction(), undoing.recorded(library) as undo:
        undo.made(Hook, [hook.id])
    while jobs.run_slice("io", open_store(settings), settings):
        pass
    return {
        "asset_id": put(alice, settings, previews={"poster": 1}).id,
        "job_id": made.jobs[0].id,
        "batch_id": made.batch.id if made.batch else 0,
        "hook_id": hook.id,
        "collection_id": collection.id,
        "preset_id": preset.id,
        "undo_id": undo.id,
        "consent_id": consent.id,
        "account_id": alice.id,
        "part": "original",
        "slug": "variants",
        "vendor": "fal",
        "engine": "faces",
    }


def address(rule: Rule, things: dict[str, Any], upload_id: str = "") -> str:
    known = things | {"upload_id": upload_id}
    return re.sub(r"<(?:[^:<>]+:)?(\w+)>", lambda found: str(known[found[1]]), rule.rule)


def is_for_administrators(rule: Rule) -> bool:
    return rule.rule.startswith("/admin/") or rule.rule == "/metrics"


def is_about_something(rule: Rule) -> bool:
    """Whether the address names something that belongs to somebody."""
    return bool(set(rule.arguments) - {"slug", "part"})


def ask(client: FlaskClient, method: str, url: str, **more: Any) -> int:
    return client.open(url, method=method, **more).status_code


@pytest.fixture
def upload_id(client: FlaskClient, alice: Account, bearer: Callable[[Account], dict[str, str]]) -> str:
    headers = bearer(alice) | {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    return client.post("/api/v1/uploads", headers=headers).headers["Location"].rsplit("/", 1)[-1]


def test_a_stranger_finds_nothing_of_anybodys(app, client, bob, things, upload_id, sign_in, bearer):
    sign_in(client, bob)
    for rule, method in rules(app):
        if is_about_something(rule):
            headers = bearer(bob) if rule.rule.startswith("/api/") else {}
            body = {"data": b"x", "content_type": TUS_TYPE} if "upload_id" in rule.arguments else {"json": {}}
            status = ask(client, method, address(rule, things, upload_id), headers=headers | TUS, **body)
            nowhere = ask(client, method, address(rule, NOWHERE, "f" * 32), headers=headers | TUS, **body)
            assert status == nowhere and status in (404, 422), (method, rule.rule, status, nowhere)


def test_an_administrator_finds_nothing_of_anybodys_either(app, client, charlie, things, upload_id, sign_in):
    sign_in(client, charlie)
    for rule, method in rules(app):
        if is_about_something(rule) and not rule.rule.startswith("/api/") and not is_for_administrators(rule):
            assert ask(client, method, address(rule, things, upload_id)) == 404, (method, rule.rule)


def test_what_is_for_administrators_is_not_there_for_anybody_else(app, client, alice, charlie, things, sign_in):
    found = [(rule, method) for rule, method in rules(app) if is_for_administrators(rule)]
    assert found
    for rule, method in found:
        sign_in(client, alice)  # even where it is about herself
        assert ask(client, method, address(rule, things)) == 404, (method, rule.rule)
        sign_in(client, charlie)
        if method == "GET":
            assert ask(client, method, address(rule, things)) in (200, 303), rule.rule
        else:
            assert ask(client, method, address(rule, NOWHERE)) == 404, (method, rule.rule)


def test_nobody_gets_in_without_signing_in(app, client, alice, things, upload_id):
    for rule, method in rules(app):
        answer = client.open(address(rule, things, upload_id), method=method, headers=TUS)
        if rule.rule.startswith("/api/"):
            assert answer.status_code == 401, (method, rule.rule)
        elif method in CHANGES:
            assert answer.status_code in (303, 400, 401), (method, rule.rule, answer.status_code)
        else:
            assert answer.status_code in (303, 401, 404), (method, rule.rule, answer.status_code)
            assert "Look at this" not in answer.text


def test_a_disabled_account_is_out_at_once(app, client, alice, things, upload_id, sign_in, bearer):
    sign_in(client, alice)
    headers = bearer(alice)
    assert client.get("/videos").status_code == 200
    with transaction():
        session.get_one(Account, alice.id).disabled_at = session.scalar(now().select())
    assert client.get("/videos").status_code == 303
    assert client.get("/api/v1/videos", headers=headers).status_code == 401


def test_every_page_answers_its_owner(app, client, alice, things, upload_id, sign_in):
    sign_in(client, alice)
    for rule, method in rules(app):
        if method == "GET" and not rule.rule.startswith("/api/") and not is_for_administrators(rule):
            url = address(rule, things, upload_id)
            answer = client.get(url, query_string={"kind": "video"} if rule.rule.startswith("/library/") else {})
            assert answer.status_code in (200, 302, 303, 304), (url, answer.status_code, answer.text[:500])


def test_every_endpoint_answers_its_owner(app, client, alice, things, upload_id, bearer):
    for rule, method in rules(app):
        if method == "GET" and rule.rule.startswith("/api/") and rule.endpoint not in ANOTHER_KIND:
            answer = client.get(address(rule, things, upload_id), headers=bearer(alice))
            assert answer.status_code in (200, 204), (rule.rule, answer.status_code, answer.text[:500])


def test_every_change_of_a_page_needs_its_token(app, client, alice, things, sign_in):
    sign_in(client, alice)
    del client.environ_base["HTTP_X_CSRFTOKEN"]
    for rule, method in rules(app):
        if method in CHANGES:
            assert ask(client, method, address(rule, things, "x")) == 400, (method, rule.rule)


def test_a_page_says_how_it_is_kept_from_caches_and_frames(app, client, alice, things, sign_in):
    sign_in(client, alice)
    answer = client.get("/videos")
    assert "no-store" in answer.headers["Cache-Control"]
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


# What one asset cannot be as well: it is a video that was sent.
ANOTHER_KIND = {
    "api_library.get_audio",
    "api_library.get_image",
    "api_library.get_model",
    "api_makings.get_diagram",
    "api_makings.get_swap",
}
NOWHERE = dict.fromkeys(
    ("asset_id", "job_id", "batch_id", "hook_id", "collection_id", "preset_id", "account_id", "consent_id", "undo_id"),
    999_999_999,
) | {
    "part": "original",
    "slug": "variants",
    "vendor": "nobody",
    "engine": "nothing",
}
TUS = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
TUS_TYPE = "application/offset+octet-stream"
