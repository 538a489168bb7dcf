"""Another's anything is a 404, in every shape: every route of the library × owner, stranger, admin, signed out."""

from dataclasses import dataclass

import pytest
from flask import Flask
from sqlalchemy import text

from novai_web.db import session, transaction
from novai_web.library import collections, editing, hooks, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from tests import things

BLUEPRINTS = {
    "library",
    "media",
    "hooks",
    "collections",
    "trash",
    "undo",
    "api_library",
    "api_uploads",
    "api_hooks",
    "api_collections",
    "models",
    "api_models",
}

ALICE = "SELECT id FROM accounts WHERE email LIKE 'alice%'"

# Routes with somebody's id in them: what is sent, so that the owner would get through.
FORMS = {
    "name": {"name": "Renamed"},
    "tags": {"tags": "x"},
    "collection": {"collection_id": ""},
    "keep": {},
    "caption": {"caption": "x"},
    "trigger": {"trigger": "ohwx"},
    "delete": {},
    "hook": {"text": "Changed", "category": ""},
}


@dataclass(frozen=True)
class Things:
    asset_id: int
    audio_id: int
    image_id: int
    model_id: int
    hook_id: int
    collection_id: int
    undo_id: int
    upload_id: str


@pytest.fixture
def alices(client, alice, bearer, settings) -> Things:
    library = Library(alice.id)
    with transaction():
        hook = hooks.add(library, ["Alice’s secret hook"], "Secret category").hooks[0]
        collection = collections.add(library, "video", "Alice’s secret collection")
    asset, audio, image, model = (
        things.put(
            alice, settings, name=f"Alice’s secret {kind}", kind=kind, previews={"thumb": 1}, tags=["secret tag"]
        )
        for kind in ("video", "audio", "image", "model")
    )
    watched = undoing.of(editing.chosen(library, [asset.id]), Asset.name)
    with transaction(), undoing.recorded(library, watched) as undo:
        editing.rename(library.find(asset.id), "Alice’s secret video, renamed")
    headers = {**bearer(alice), "Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    where = client.post("/api/v1/uploads", headers=headers).headers["Location"]
    return Things(asset.id, audio.id, image.id, model.id, hook.id, collection.id, undo.id, where.rpartition("/")[2])


def addresses(app: Flask, alices: Things) -> list[tuple[str, str]]:
    """Every method and address of the library in which an id stands, with Alice's ids in it."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.endpoint.partition(".")[0] not in BLUEPRINTS or not rule.arguments:
            continue
        values = {name: getattr(alices, name, None) or alices.asset_id for name in rule.arguments}
        values["part"] = "original"
        for kind, ending in (("audio", None), ("image", "/caption"), ("model", "/trigger")):
            if f"/{kind}s/" in rule.rule or (ending and rule.rule.endswith(ending)):
                values["asset_id"] = getattr(alices, f"{kind}_id")
        with app.test_request_context():
            address = rule.build({name: values[name] for name in rule.arguments})[1]
        found += [(method, address) for method in (rule.methods or set()) - {"OPTIONS"}]
    return sorted(found)


def ask(client, method: str, address: str, headers: dict[str, str]):
    told = {**headers, "Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    if "/uploads/" in address:
        return client.open(
            address, method=method, headers=told, data=b"x", content_type="application/offset+octet-stream"
        )
    if address.startswith("/api/") and method in ("PATCH", "PUT"):
        return client.open(
            address, method=method, headers=told, json={"name": "x"} if "hooks" not in address else {"text": "x"}
        )
    form = FORMS.get(address.rpartition("/")[2], FORMS["hook"])
    return client.open(address, method=method, headers=told, data=None if method in ("GET", "HEAD", "DELETE") else form)


def test_there_are_routes_to_try(app, alices):
    assert len(addresses(app, alices)) > 40


def test_a_stranger_and_an_administrator_find_nothing_of_alices(app, alices, bob, charlie, bearer, sign_in):
    before = everything()
    for person in (bob, charlie):
        page = app.test_client()
        sign_in(page, person)
        for method, address in addresses(app, alices):
            answer = ask(page, method, address, bearer(person) if address.startswith(("/api/", "/media/")) else {})
            assert answer.status_code == 404, f"{person.name}: {method} {address} → {answer.status_code}"
            assert "secret" not in answer.text
    assert everything() == before


def test_the_owner_gets_through_on_the_same_addresses(app, alices, alice, bearer, sign_in):
    """Or the others would be refused for another reason."""
    page, headers = app.test_client(), bearer(alice)
    sign_in(page, alice)
    deletions_last = sorted(addresses(app, alices), key=lambda each: each[0] == "DELETE")
    for method, address in deletions_last:
        if address.endswith(("/restore", "/delete", "/high")):
            continue  # what is restored or deleted by another route already, or needs a file, is tried where those are
        answer = ask(page, method, address, headers if address.startswith(("/api/", "/media/")) else {})
        assert answer.status_code < 400, f"{method} {address} → {answer.status_code}"


def test_someone_signed_out_finds_nothing(app, alices, alice):
    before = everything()
    for method, address in addresses(app, alices):
        answer = ask(app.test_client(), method, address, {})
        wanted = {401} if address.startswith("/api/") else {303, 400, 401}
        assert answer.status_code in wanted and "secret" not in answer.text, (
            f"{method} {address} → {answer.status_code}"
        )
    assert everything() == before


def test_lists_counts_searches_and_bulk_actions_are_blind_to_anothers(app, alices, bob, sign_in, bearer):
    before = everything()
    page, headers = app.test_client(), bearer(bob)
    sign_in(page, bob)
    for where in (
        "/videos?q=secret", "/videos?tag=secret+tag", f"/videos?collection={alices.collection_id}", "/audios",
        "/images", "/models",
        "/hooks?q=secret", "/hooks?category=Secret+category", "/hooks.csv", "/collections", "/trash",
        f"/library/tiles?ids={alices.asset_id}", "/library/picker?kind=video", "/library/picker?kind=hook",
        f"/library/chips?kind=video&ids={alices.asset_id}", f"/library/chips?kind=hook&ids={alices.hook_id}",
        f"/library/chips?kind=video&collection={alices.collection_id}", "/search", "/search?q=secret",
        "/search?q=secret&kind=collection", "/search/results", "/search/results?q=secret",
    ):  # fmt: skip
        said = page.get(where)
        # What Bob asked for may stand in the page again, with a small s; what Alice called things may not.
        assert said.status_code == 200 and "Alice" not in said.text and f"asset-{alices.asset_id}" not in said.text, (
            where
        )
    for where in ("videos", "audios", "images", "models", "models/history", "hooks", "collections", "hooks/categories"):
        assert page.get(f"/api/v1/{where}", headers=headers).json["items"] == []
    assert page.get(f"/api/v1/videos?collection_id={alices.collection_id}", headers=headers).json["total"] == 0
    selected = {"ids": [alices.asset_id], "kind": "video"}
    for where, form in (
        ("/library/trash", selected), ("/library/trash", {"all": "1", "kind": "video"}),
        ("/library/tags", {**selected, "add_tag": "mine"}),
        ("/library/collection", {**selected, "collection_name": "Mine"}),
        ("/hooks/trash", {"ids": alices.hook_id}), ("/hooks/category", {"ids": alices.hook_id, "category": "Mine"}),
        ("/trash/restore", {"ids": alices.asset_id, "hook_ids": alices.hook_id}), ("/trash/empty", {}),
        ("/trash/empty", {"ids": alices.asset_id, "hook_ids": alices.hook_id}),
    ):  # fmt: skip
        assert page.post(where, data=form).status_code == 303, where
    assert page.post("/library/zip", data=selected).status_code == 422
    assert page.post("/library/collection", data={**selected, "collection_id": alices.collection_id}).status_code == 422
    assert everything() == before


def test_a_body_cannot_set_what_is_not_its_to_set(client, alice, bob, alices, bearer, settings):
    mine = things.put(bob, settings)
    for body in (
        {"collection_id": alices.collection_id}, {"account_id": alice.id}, {"status": "ready"}, {"size_bytes": 0},
        {"store_key": f"assets/{alices.asset_id}/original.mp4"}, {"type": "generated"}, {"expires_at": None},
    ):  # fmt: skip
        answer = client.patch(f"/api/v1/videos/{mine.id}", json=body, headers=bearer(bob))
        assert answer.status_code == 422, body


def everything() -> list[tuple]:
    """All that Alice has, to see that nothing of it was touched."""
    session.rollback()
    return [
        tuple(row)
        for table, columns in (
            ("assets", "id, name, tags, collection_id, trashed_at, deleting_at, expires_at"),
            ("hooks", "id, text, category, trashed_at"),
            ("collections", "id, name"),
            ("uploads", "id, expires_at"),
            ("undos", "id, taken_back_at"),
        )
        for row in session.execute(text(f"SELECT {columns} FROM {table} WHERE account_id IN ({ALICE}) ORDER BY id"))
    ]
