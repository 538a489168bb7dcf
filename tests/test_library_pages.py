"""The library as pages: every change works as a plain form, and what a bulk action touches is what was meant."""

import io
import re
import zipfile
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text

from novai_web.db import session, transaction
from novai_web.library import hooks, trash
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from tests import things


@pytest.fixture
def page(client: FlaskClient, alice, sign_in: Callable) -> FlaskClient:
    """A browser in which Alice is signed in."""
    sign_in(client, alice)
    return client


@pytest.fixture
def alices(alice) -> Library:
    return Library(alice.id)


def live(library: Library) -> set[int]:
    session.rollback()
    return set(session.scalars(library.assets().with_only_columns(Asset.id)))


@pytest.mark.parametrize("where", ["/videos", "/audios", "/images", "/hooks", "/collections", "/trash"])
def test_every_list_is_there_when_it_is_empty_and_for_nobody_unknown(page, app, where):
    assert page.get(where).status_code == 200
    stranger = app.test_client().get(where)
    assert stranger.status_code == 303 and "/sign-in" in stranger.headers["Location"]


def test_a_list_shows_what_is_there_and_escapes_what_people_type(page, alice, settings):
    things.put(alice, settings, name="<script>alert(1)</script>", tags=["<b>"], previews={"thumb": 1})
    for view in ("grid", "list"):
        said = page.get(f"/videos?view={view}").text
        assert "&lt;script&gt;alert(1)" in said and "<script>alert" not in said


def test_a_list_asks_no_more_when_it_is_longer(page, alice, settings, queries):
    def asked(where: str) -> int:
        with queries() as said:
            assert page.get(where).status_code == 200
        return len(said)

    things.put(alice, settings)
    with transaction():
        hooks.add(Library(alice.id), ["one"])
    wheres = (
        "/videos",
        "/videos?view=list",
        "/hooks",
        "/collections",
        "/library/picker?kind=video",
        "/library/picker?kind=hook",
    )
    few = {where: asked(where) for where in wheres}
    for n in range(15):
        things.put(alice, settings, tags=[f"t{n}"], previews={"thumb": 1, "poster": 1})
    with transaction():
        hooks.add(Library(alice.id), [f"hook {n}" for n in range(30)], "Category")
    for where in wheres:
        assert asked(where) == few[where] <= 12, where


def test_a_page_leads_to_the_next_one(page, alice, settings):
    for n in range(65):
        things.put(alice, settings, name=f"Clip {n:03}")
    first = page.get("/videos?sort=name").text
    assert "Clip 000" in first and "Clip 064" not in first
    following = re.search(r'href="([^"]*cursor=[^"]+)"', first)
    assert following
    assert "Clip 064" in page.get(following[1].replace("&amp;", "&")).text


def test_the_page_of_one_shows_its_lineage_and_recipe(page, alice, settings):
    source = things.put(alice, settings, name="The source")
    made = things.put(
        alice, settings, name="The variant", type="variant", recipe={"hook": "Wait for it", "style": {"size": 5}}
    )
    things.made_from(made, source)
    said = page.get(f"/assets/{made.id}").text
    assert "The source" in said and "Wait for it" in said
    assert "The variant" in page.get(f"/assets/{source.id}").text


def test_the_plain_forms_of_one_asset_change_it(page, alice, settings):
    asset = things.put(alice, settings)
    collection = page.post("/collections", data={"name": "Films", "kind": "video"})
    assert collection.status_code == 303
    collection_id = session.scalar(text("SELECT id FROM collections"))
    for where, form in (
        ("name", {"name": "Renamed"}),
        ("tags", {"tags": "a, b,,a"}),
        ("collection", {"collection_id": str(collection_id)}),
        ("keep", {}),
    ):
        answer = page.post(f"/assets/{asset.id}/{where}", data={**form, "back": "/videos?q=x"})
        assert answer.status_code == 303 and answer.headers["Location"].endswith("/videos?q=x"), where
    session.expire_all()
    found = session.get(Asset, asset.id)
    assert (found.name, found.tags, found.collection_id) == ("Renamed", ["a", "b"], collection_id)


@pytest.mark.parametrize(
    "back", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", ""]
)
def test_the_way_back_never_leads_elsewhere(page, alice, settings, back):
    asset = things.put(alice, settings)
    answer = page.post(f"/assets/{asset.id}/name", data={"name": "x", "back": back})
    assert (
        answer.status_code == 303
        and "evil" not in answer.headers["Location"]
        and "javascript" not in answer.headers["Location"]
    )


def test_deleting_says_what_was_made_from_it_and_offers_undo(page, alice, alices, settings):
    source, made = things.put(alice, settings), things.put(alice, settings, type="variant")
    things.made_from(made, source)
    answer = page.post("/library/trash", data={"ids": source.id, "kind": "video", "back": "/videos"})
    assert answer.status_code == 303 and live(alices) == {made.id}
    said = page.get("/videos").text
    assert "1 video moved to the trash. 1 thing made from it stays." in said
    undo = re.search(r'action="(/undo/\d+)"', said)
    assert undo
    assert page.post(undo[1]).status_code == 303
    assert live(alices) == {source.id, made.id}


def test_all_that_match_are_meant_when_all_is_said(page, alice, bob, alices, settings):
    match = {things.put(alice, settings, name=f"Beach {n}", tags=["sea"]).id for n in range(70)}
    others = {things.put(alice, settings, name="Beach"), things.put(alice, settings, name="Hill", tags=["sea"])}
    theirs = things.put(bob, settings, name="Beach", tags=["sea"])
    one = next(iter(match))
    answer = page.post("/library/trash", data={"ids": one, "all": "1", "kind": "video", "q": "beach", "tag": "sea"})
    assert answer.status_code == 303
    assert live(alices) == {asset.id for asset in others} and live(Library(bob.id)) == {theirs.id}


def test_a_selection_is_moved_and_tagged_and_anothers_is_not(page, alice, bob, settings):
    mine, theirs = things.put(alice, settings), things.put(bob, settings)
    form = {"ids": [mine.id, theirs.id], "kind": "video"}
    assert page.post("/library/collection", data={**form, "collection_name": "New one"}).status_code == 303
    assert page.post("/library/tags", data={**form, "add_tag": ["", "sea"]}).status_code == 303
    session.expire_all()
    assert session.get(Asset, mine.id).tags == ["sea"] and session.get(Asset, mine.id).collection_id
    assert session.get(Asset, theirs.id).tags == [] and session.get(Asset, theirs.id).collection_id is None
    assert page.post("/library/collection", data={**form, "collection_id": ""}).status_code == 303
    session.expire_all()
    assert session.get(Asset, mine.id).collection_id is None
    assert page.post("/library/trash", data={"kind": "video"}).status_code == 422


def test_a_zip_of_a_selection_has_every_file_once_under_a_safe_name(page, alice, bob, settings):
    contents = {}
    for n, name in enumerate(["Clip", "clip", "a/b\\c", "..", "über"]):
        content = f"content {n}".encode()
        contents[things.put(alice, settings, content, name=name).id] = content
    theirs = things.put(bob, settings, b"secret")
    answer = page.post("/library/zip", data={"ids": [*contents, theirs.id], "kind": "video"})
    assert answer.mimetype == "application/zip" and answer.content_length == len(answer.data)
    archive = zipfile.ZipFile(io.BytesIO(answer.data))
    assert archive.testzip() is None
    assert sorted(archive.read(name) for name in archive.namelist()) == sorted(contents.values())
    assert set(archive.namelist()) >= {"Clip.mp4", "clip (2).mp4", "a_b_c.mp4", "über.mp4"}
    assert not any("/" in name or ".." in name for name in archive.namelist())


def test_tiles_are_drawn_again_only_when_something_changed(page, alice, bob, settings):
    asset, theirs = things.put(alice, settings, status="processing"), things.put(bob, settings, name="Not yours")
    where = f"/library/tiles?ids={asset.id},{theirs.id},x&view=grid"
    first = page.get(where)
    assert f"asset-{asset.id}" in first.text and "Not yours" not in first.text
    assert page.get(where, headers={"HX-PTag": first.headers["HX-PTag"]}).status_code == 304
    with transaction():
        session.get(Asset, asset.id).status = "ready"
    again = page.get(where, headers={"HX-PTag": first.headers["HX-PTag"]})
    assert again.status_code == 200 and "data-live" not in again.text


def test_the_picker_and_the_chips_show_ones_own_in_order(page, alice, bob, alices, settings):
    first, second = things.put(alice, settings, name="First"), things.put(alice, settings, name="Second")
    theirs = things.put(bob, settings, name="Not yours")
    with transaction():
        hook = hooks.add(alices, ["A hook"], "Openers").hooks[0]
    assert "First" in page.get("/library/picker?kind=video&q=fir").text
    assert "A hook" in page.get("/library/picker?kind=hook&category=Openers").text
    assert page.get("/library/picker?kind=nonsense").status_code == 422
    chips = page.get(f"/library/chips?kind=video&ids={second.id},{theirs.id},{first.id}").text
    assert chips.index("Second") < chips.index("First") and "Not yours" not in chips
    assert "A hook" in page.get(f"/library/chips?kind=hook&ids={hook.id}").text
    assert "A hook" in page.get("/library/chips?kind=hook&category=Openers").text


def test_a_plain_form_uploads_several_files_and_says_which_it_could_not_take(page, alices, settings):
    files = [
        (io.BytesIO(things.wav()), "one.wav"),
        (io.BytesIO(b"<svg/>"), "two.svg"),
        (io.BytesIO(things.png()), "three.png"),
    ]
    answer = page.post("/library/upload", data={"file": files, "kind": "audio", "back": "/audios"})
    assert answer.status_code == 303
    said = page.get("/audios").text
    assert "2 files uploaded." in said and "two.svg" in said and "SVG" in said and "one" in said
    assert not list(settings.arriving_folder.glob("*"))


def test_hooks_are_pasted_edited_filed_and_thrown_away_by_plain_forms(page, alices):
    answer = page.post("/hooks", data={"texts": "one\ntwo\r\n\ntwo\nthree", "category": "A", "back": "/hooks"})
    assert answer.status_code == 303 and "3 hooks added." in page.get("/hooks").text
    page.post("/hooks", data={"texts": "three\nfour", "category": "A"})
    assert "1 hook added. 1 hook was there already." in page.get("/hooks").text
    hook = hooks.listed(alices, hooks.Filter(), "oldest").items[0]
    assert page.post(f"/hooks/{hook.id}", data={"text": "uno", "category": "B"}).status_code == 303
    fragment = page.post(f"/hooks/{hook.id}", data={"text": "x" * 501}, headers={"HX-Request": "true"})
    assert fragment.status_code == 422 and "500" in fragment.text
    fragment = page.post(f"/hooks/{hook.id}", data={"text": "ein", "category": "B"}, headers={"HX-Request": "true"})
    assert fragment.status_code == 200 and "ein" in fragment.text and "<html" not in fragment.text
    assert page.post("/hooks/category", data={"all": "1", "in_category": "A", "category": "C"}).status_code == 303
    assert dict(hooks.categories(alices)) == {"B": 1, "C": 3}
    page.post("/hooks/trash", data={"ids": hook.id})
    assert "1 hook moved to the trash." in page.get("/hooks").text
    page.post("/trash/restore", data={"hook_ids": hook.id})
    assert dict(hooks.categories(alices)) == {"B": 1, "C": 3}


def test_a_wrong_form_comes_back_with_what_was_typed(page):
    answer = page.post("/hooks", data={"texts": "y" * 501, "category": "Keep me"})
    assert answer.status_code == 422 and "y" * 501 in answer.text and "Keep me" in answer.text
    answer = page.post("/collections", data={"name": "", "kind": "video"})
    assert answer.status_code == 422
    csv = {"file": (io.BytesIO(b"fine\n" + b"x" * 501), "hooks.csv")}
    answer = page.post("/hooks/csv", data=csv)
    assert answer.status_code == 422 and "Line 2" in answer.text


def test_the_trash_restores_and_empties(page, alice, alices, settings):
    first, second = things.put(alice, settings), things.put(alice, settings)
    page.post("/library/trash", data={"ids": [first.id, second.id], "kind": "video"})
    assert page.post("/trash/restore", data={"ids": first.id}).status_code == 303
    assert live(alices) == {first.id} and trash.listed(alices).total == 1
    assert page.post("/trash/empty").status_code == 303
    assert trash.listed(alices).total == 0 and live(alices) == {first.id}


def test_all_that_is_in_the_trash_is_restored_at_once_and_goes_back_by_undo(page, alice, bob, alices, settings):
    mine = {things.put(alice, settings).id for _ in range(3)}
    theirs = things.put(bob, settings)
    with transaction():
        trash.throw_away(alices, alices.assets())
        trash.throw_away(Library(bob.id), Library(bob.id).assets())
    assert page.post("/trash/restore", data={"all": "1", "ids": next(iter(mine))}).status_code == 303
    assert live(alices) == mine and live(Library(bob.id)) == set()
    undo = re.search(r'action="(/undo/\d+)"', page.get("/trash").text)
    assert undo and page.post(undo[1]).status_code == 303
    assert live(alices) == set() and theirs.id not in live(Library(bob.id))


def test_a_change_without_the_token_of_the_page_is_refused(page, alice, alices, settings):
    asset = things.put(alice, settings)
    page.environ_base.pop("HTTP_X_CSRFTOKEN")
    for where in (f"/assets/{asset.id}/name", "/library/trash", "/hooks", "/trash/empty", "/library/upload"):
        assert page.post(where, data={"ids": asset.id, "name": "x", "kind": "video"}).status_code == 400, where
    assert live(alices) == {asset.id}


def test_a_collection_is_renamed_and_deleted_by_plain_forms(page, alice, alices, settings):
    page.post("/collections", data={"name": "Films", "kind": "video"})
    collection_id = session.scalar(text("SELECT id FROM collections"))
    asset = things.put(alice, settings, collection_id=collection_id)
    assert page.post(f"/collections/{collection_id}/name", data={"name": "Clips"}).status_code == 303
    assert "Clips" in page.get("/collections").text
    assert page.post(f"/collections/{collection_id}/delete").status_code == 303
    assert "stays in your library" in page.get("/collections").text and live(alices) == {asset.id}


def test_a_list_can_be_narrowed_to_a_tool_and_to_the_last_days(app, client, alice, settings, sign_in):
    made = things.put(alice, settings, name="made by a tool", made_by_tool="variants", type="variant")
    old = things.put(alice, settings, name="from last year")
    with transaction():
        session.execute(text("UPDATE assets SET created_at = now() - interval '1 year' WHERE id = :id"), {"id": old.id})
    sign_in(client, alice)
    by_tool, lately = client.get("/videos?tool=variants").text, client.get("/videos?days=7").text
    assert "made by a tool" in by_tool and "from last year" not in by_tool
    assert "made by a tool" in lately and "from last year" not in lately and made.id != old.id
