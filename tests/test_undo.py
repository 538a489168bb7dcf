"""Undo: whatever somebody changes in the library can be taken back, once, by them, and nothing else with it."""

import io
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select, text, update

from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import now, session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import cleaning
from novai_web.library import collections, hooks, undoing
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Collection, Hook, Undo
from tests import things

SHOWN = {
    "assets": "id, name, tags, collection_id, caption, media, expires_at, trashed_at",
    "hooks": "id, text, category, trashed_at",
    "collections": "id, kind, name",
}


@pytest.fixture
def page(client: FlaskClient, alice: Account, sign_in: Callable[..., None]) -> FlaskClient:
    """A browser in which Alice is signed in."""
    sign_in(client, alice)
    return client


@pytest.fixture
def library(alice: Account) -> Library:
    return Library(alice.id)


def everything() -> dict[str, list[tuple[Any, ...]]]:
    """What the library looks like, to the last column that a person can change."""
    session.rollback()
    return {
        table: [tuple(row) for row in session.execute(text(f"SELECT {columns} FROM {table} ORDER BY id"))]
        for table, columns in SHOWN.items()
    }


def undo_of(page: FlaskClient, where: str = "/videos") -> str:
    """The address behind the Undo of the last toast."""
    found = re.findall(r'action="(/undo/\d+)"', page.get(where).text)
    assert found, "there is no Undo in sight"
    return str(found[-1])


def press(page: FlaskClient, undo: str) -> str:
    """What the page says after Undo was pressed."""
    assert page.post(undo, data={"back": "/audios"}).headers["Location"] == "/audios"
    return page.get("/audios").text


@pytest.fixture
def ids(alice: Account, settings: Settings, library: Library) -> dict[str, int]:
    """A library with one of everything in it, in a state of its own."""
    with transaction():
        collection = collections.add(library, "video", "Berlin").id
        other = collections.add(library, "video", "Paris").id
        wait, stop = (hook.id for hook in hooks.add(library, ["Wait for it", "Stop here"], "Openers").hooks)
        hooks.add(library, ["Wait for it"], "Closers")
        soon = session.scalar(select(now() + timedelta(hours=5)))
    clip = things.put(alice, settings, name="Clip", tags=["sea"], collection_id=collection).id
    output = things.put(alice, settings, name="Output", type="variant", expires_at=soon).id
    picture = things.put(alice, settings, kind="image", name="Picture", caption="A dog").id
    model = things.put(alice, settings, kind="model", name="Model").id
    gone = things.put(alice, settings, name="Gone", trashed_at=session.scalar(select(now()))).id
    return {
        "clip": clip, "output": output, "picture": picture, "model": model, "gone": gone,
        "collection": collection, "other": other, "wait": wait, "stop": stop,
    }  # fmt: skip


CHANGES: dict[str, tuple[str, dict[str, str]]] = {
    "a new name": ("/assets/{clip}/name", {"name": "Other"}),
    "other tags": ("/assets/{clip}/tags", {"tags": "one, two"}),
    "no collection": ("/assets/{clip}/collection", {"collection_id": ""}),
    "another collection": ("/assets/{clip}/collection", {"collection_id": "{other}"}),
    "keeping": ("/assets/{output}/keep", {}),
    "a caption": ("/assets/{picture}/caption", {"caption": "A cat"}),
    "a trigger word": ("/assets/{model}/trigger", {"trigger": "ohwx"}),
    "deleting": ("/library/trash", {"ids": "{clip}", "kind": "video"}),
    "deleting all that match": ("/library/trash", {"all": "1", "kind": "video"}),
    "moving": ("/library/collection", {"ids": "{clip}", "kind": "video", "collection_id": "{other}"}),
    "moving to a new one": ("/library/collection", {"ids": "{clip}", "kind": "video", "collection_name": "Rome"}),
    "taking out": ("/library/collection", {"ids": "{clip}", "kind": "video", "collection_id": ""}),
    "tagging": ("/library/tags", {"ids": "{clip}", "kind": "video", "add_tag": "new"}),
    "restoring": ("/trash/restore", {"ids": "{gone}"}),
    "a collection's name": ("/collections/{collection}/name", {"name": "Hamburg"}),
    "deleting a collection": ("/collections/{collection}/delete", {}),
    "a hook's text": ("/hooks/{wait}", {"text": "Something else", "category": "Openers"}),
    "a hook's category": ("/hooks/{stop}", {"text": "Stop here", "category": "Closers"}),
    "a category for many": ("/hooks/category", {"all": "1", "category": "All in one"}),
    "deleting hooks": ("/hooks/trash", {"all": "1"}),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_undo_the_library_is_as_it_was(page, ids, change):
    where, form = CHANGES[change]
    before = everything()
    sent = {name: value.format(**ids) for name, value in form.items()}
    assert page.post(where.format(**ids), data=sent).status_code == 303
    assert everything() != before, "or there would be nothing to undo"
    undo = undo_of(page)
    assert "Undone" in press(page, undo)
    assert everything() == before


@pytest.mark.parametrize("change", ["a new name", "deleting all that match", "deleting a collection", "deleting hooks"])
def test_a_second_press_does_nothing(page, ids, change):
    where, form = CHANGES[change]
    page.post(where.format(**ids), data={name: value.format(**ids) for name, value in form.items()})
    undo = undo_of(page)
    press(page, undo)
    page.post(f"/assets/{ids['clip']}/name", data={"name": "Later"})
    later = everything()
    assert "nothing left to undo" in press(page, undo)
    assert everything() == later


def test_new_hooks_go_to_the_trash_again_and_those_that_were_there_stay(page, ids, library):
    page.post("/hooks", data={"texts": "Wait for it\nFresh one\nFresh two", "category": "Openers"})
    press(page, undo_of(page))
    csv = {"file": (io.BytesIO(b"text,category\nStop here,Openers\nFresh three,Openers\n"), "hooks.csv")}
    page.post("/hooks/csv", data=csv)
    assert "1 thing is" in press(page, undo_of(page))
    live = session.scalars(library.hooks().with_only_columns(Hook.text)).all()
    assert sorted(live) == ["Stop here", "Wait for it", "Wait for it"]


def test_what_somebody_changed_since_stays_as_they_left_it(page, ids):
    page.post("/library/tags", data={"ids": [ids["clip"], ids["output"]], "kind": "video", "add_tag": "new"})
    undo = undo_of(page)
    page.post(f"/assets/{ids['clip']}/tags", data={"tags": "mine"})
    assert "1 thing is as before" in press(page, undo)
    session.expire_all()
    assert session.get(Asset, ids["clip"]).tags == ["mine"]
    assert session.get(Asset, ids["output"]).tags == []


def test_a_hook_that_was_written_again_stays_and_the_others_come_back(page, ids, library):
    page.post("/hooks/trash", data={"ids": [ids["wait"], ids["stop"]]})
    undo = undo_of(page)
    page.post("/hooks", data={"texts": "Wait for it", "category": "Openers"})
    assert "1 thing is as before" in press(page, undo)
    live = session.scalars(library.hooks().with_only_columns(Hook.text)).all()
    assert sorted(live) == ["Stop here", "Wait for it", "Wait for it"]


def test_a_deleted_collection_comes_back_with_what_was_in_it_unless_its_name_is_taken(page, ids, alice, settings):
    page.post(f"/collections/{ids['collection']}/delete")
    undo = undo_of(page)
    page.post("/collections", data={"name": "Berlin", "kind": "video"})
    assert "nothing left to undo" in press(page, undo)
    assert session.scalar(select(Asset.collection_id).where(Asset.id == ids["clip"])) is None
    assert session.scalars(select(Collection.name).order_by(Collection.name)).all() == ["Berlin", "Paris"]


def test_a_new_collection_that_was_filled_since_is_not_taken_away(page, ids, alice, settings):
    page.post("/library/collection", data={"ids": ids["clip"], "kind": "video", "collection_name": "Rome"})
    undo = undo_of(page)
    rome = session.scalar(select(Collection.id).where(Collection.name == "Rome"))
    kept = things.put(alice, settings, collection_id=rome).id
    press(page, undo)
    session.expire_all()
    assert session.get(Asset, kept).collection_id == rome
    assert session.get(Asset, ids["clip"]).collection_id == ids["collection"]


def test_an_output_whose_time_would_be_up_stays_kept(page, ids):
    with transaction():
        session.execute(update(Asset).where(Asset.id == ids["output"]).values(expires_at=now() + timedelta(seconds=30)))
    page.post(f"/assets/{ids['output']}/keep")
    assert "nothing left to undo" in press(page, undo_of(page))
    session.expire_all()
    assert session.get(Asset, ids["output"]).expires_at is None


def test_nobody_else_can_undo_it(page, app, ids, bob, charlie, sign_in):
    page.post(f"/assets/{ids['clip']}/name", data={"name": "Other"})
    undo, after = undo_of(page), everything()
    for person in (bob, charlie):
        visitor = app.test_client()
        sign_in(visitor, person)
        assert visitor.post(undo).status_code == 404
    assert app.test_client().post(undo).status_code in (303, 400, 401)
    assert everything() == after
    assert "Undone" in press(page, undo)


def test_undo_ends_after_some_minutes_with_a_sentence_and_is_forgotten_after_a_day(page, ids, settings):
    page.post(f"/assets/{ids['clip']}/name", data={"name": "Other"})
    undo, after = undo_of(page), everything()
    with transaction():
        session.execute(update(Undo).values(made_at=now() - undoing.LIFE))
    assert "this was longer ago. Nothing was changed." in press(page, undo)
    assert everything() == after
    with transaction():
        session.execute(update(Undo).values(made_at=now() - undoing.FORGOTTEN))
    cleaning.clean_library(open_store(settings), settings)
    assert page.post(undo).status_code == 404


def test_what_changed_nothing_offers_no_undo(page, ids):
    page.post(f"/assets/{ids['clip']}/name", data={"name": "Clip"})
    page.post("/hooks", data={"texts": "Wait for it", "category": "Openers"})
    assert "/undo/" not in page.get("/videos").text
    page.post(f"/assets/{ids['clip']}/name", data={"name": "   "})
    assert "/undo/" not in page.get("/videos").text


def test_a_hook_edited_where_it_stands_offers_undo_beside_it(page, ids):
    there = {"HX-Request": "true"}
    said = page.post(f"/hooks/{ids['wait']}", data={"text": "Hold on", "category": "Openers"}, headers=there)
    assert re.search(r'id="toasts".*action="/undo/\d+"', said.text, re.DOTALL)
    again = page.post(f"/hooks/{ids['wait']}", data={"text": "Hold on", "category": "Openers"}, headers=there)
    assert "/undo/" not in again.text
