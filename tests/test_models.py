"""Models in the library: files from elsewhere, their page, their trigger word, pictures to train one with."""

import io
import zipfile
from typing import Any

import pytest

from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.errors import TooLarge
from novai_web.jobs import unpacking
from novai_web.jobs.cleaning import clean_library
from novai_web.library import editing, sent
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from tests.things import png, put, stored, wav
from tests.weights import pickled, weights


@pytest.fixture
def browser(client, alice, sign_in):
    sign_in(client, alice)
    return client


def upload(client, headers, content: bytes, where: str = "/api/v1/models/upload", **form: Any):
    file = (io.BytesIO(content), form.pop("filename", "mine.safetensors"))
    return client.post(where, data={"file": file, **form}, headers=headers, content_type="multipart/form-data")


def zipped(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files:
            archive.writestr(name, content)
    return out.getvalue()


# --- A file from elsewhere -----------------------------------------------------------------------------------------


def test_a_model_from_elsewhere_comes_in_and_says_what_it_is(client, as_alice, work):
    answer = upload(client, as_alice, weights(rank=8, notes={"trained_with": "somebody"}))
    assert answer.status_code == 201 and answer.json["kind"] == "model" and answer.json["name"] == "mine"
    work()
    shown = client.get(f"/api/v1/models/{answer.json['id']}", headers=as_alice).json
    assert shown["status"] == "ready" and shown["type"] == "source" and shown["mime"] == "application/octet-stream"
    assert shown["media"]["rank"] == 8 and shown["media"]["notes"] == {"trained_with": "somebody"}
    listed = client.get("/api/v1/models", headers=as_alice).json
    assert [each["id"] for each in listed["items"]] == [shown["id"]]


def test_the_same_file_twice_is_one_model(client, as_alice):
    first = upload(client, as_alice, weights())
    again = upload(client, as_alice, weights(), where="/api/v1/models")
    assert again.headers["Novai-Duplicate"] == "1" and again.json["id"] == first.json["id"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickled(), "pickle"),
        (zipped(("archive/data.pkl", pickled())), "pickle"),
        (weights()[:-5], "its end is missing"),
        (weights() + pickled(), "more in it than it says"),
        (png(), "This is a picture. Send a model here"),
        (b"hello", "SAFETENSORS"),
    ],
)
def test_what_is_no_model_is_refused_in_words_and_nothing_is_kept(client, as_alice, settings, content, said):
    answer = upload(client, as_alice, content)
    assert answer.status_code == 422
    assert said in " ".join([answer.json["detail"], *(each["message"] for each in answer.json["errors"])])
    assert session.query(Asset).count() == 0 and stored(settings) == []


def test_a_model_is_no_picture(client, as_alice):
    answer = upload(client, as_alice, weights(), where="/api/v1/images")
    assert answer.status_code == 422 and "This is a model. Send a picture here" in answer.text


def test_a_model_is_only_ever_saved_under_its_name_and_never_opened_in_a_browser(browser, alice, settings):
    model = put(alice, settings, weights(), kind="model", name="Anna / 1", mime="application/octet-stream")
    with transaction():
        session.get_one(Asset, model.id).media = {"extension": ".safetensors"}
    answer = browser.get(f"/media/{model.id}/original")
    assert answer.data == weights() and answer.headers["Content-Disposition"].startswith("attachment")
    assert "Anna _ 1.safetensors" in answer.headers["Content-Disposition"].replace("%20", " ")
    assert browser.get(f"/media/{model.id}/high").status_code == 404


# --- Its page ------------------------------------------------------------------------------------------------------


def test_the_list_and_the_page_of_a_model_show_what_it_is_called_up_with(browser, as_alice, work):
    made = upload(browser, as_alice, weights()).json
    work()
    assert "mine" in browser.get("/models").text
    page = browser.get(f"/assets/{made['id']}").text
    assert "Nothing is known of its trigger word." in page and "128 in 4 tensors, F16" in page
    assert browser.post(f"/assets/{made['id']}/trigger", data={"trigger": "ohwx"}).status_code == 303
    assert "<strong>ohwx</strong>" in browser.get(f"/assets/{made['id']}").text
    shown = browser.patch(f"/api/v1/models/{made['id']}", json={"trigger": "sks-1"}, headers=as_alice).json
    assert shown["media"]["trigger"] == "sks-1"


def test_a_trigger_word_is_one_word(client, as_alice):
    made = upload(client, as_alice, weights()).json
    for wrong in ("two words", "x", "123", "<script>", "a" * 41):
        answer = client.patch(f"/api/v1/models/{made['id']}", json={"trigger": wrong}, headers=as_alice)
        assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "trigger", wrong


def test_an_empty_list_says_how_to_get_a_model(browser):
    page = browser.get("/models").text
    assert "No models yet." in page and ".safetensors" in page and "/tools/lora-trainer" in page


def test_models_lie_in_no_collection(browser, alice, settings):
    model = put(alice, settings, kind="model", name="Anna")
    answer = browser.post("/library/collection", data={"ids": model.id, "kind": "model", "collection_name": "Mine"})
    assert answer.status_code == 422
    assert "Move to a collection" not in browser.get("/models").text


def test_a_model_is_thrown_away_and_brought_back_like_everything(client, as_alice):
    made = upload(client, as_alice, weights()).json
    assert client.delete(f"/api/v1/models/{made['id']}", headers=as_alice).status_code == 204
    assert client.get(f"/api/v1/models/{made['id']}", headers=as_alice).status_code == 404
    assert client.post(f"/api/v1/models/{made['id']}/restore", headers=as_alice).json["name"] == "mine"


# --- Captions ------------------------------------------------------------------------------------------------------


def test_a_picture_has_a_caption_and_nothing_else_has(browser, as_alice, alice, settings):
    picture, video = put(alice, settings, kind="image", name="Anna"), put(alice, settings)
    browser.post(f"/assets/{picture.id}/caption", data={"caption": "  a woman\non a beach "})
    assert browser.get(f"/api/v1/images/{picture.id}", headers=as_alice).json["caption"] == "a woman on a beach"
    assert 'value="a woman on a beach"' in browser.get(f"/assets/{picture.id}").text
    browser.patch(f"/api/v1/images/{picture.id}", json={"caption": ""}, headers=as_alice)
    assert browser.get(f"/api/v1/images/{picture.id}", headers=as_alice).json["caption"] is None
    assert browser.patch(f"/api/v1/videos/{video.id}", json={"caption": "x"}, headers=as_alice).status_code == 422
    too_long = {"caption": "x" * (editing.CAPTION_CHARACTERS_MAX + 1)}
    assert browser.patch(f"/api/v1/images/{picture.id}", json=too_long, headers=as_alice).status_code == 422


# --- Pictures as a ZIP ---------------------------------------------------------------------------------------------


def test_a_zip_of_pictures_comes_in_as_a_collection_and_is_picked_in_the_trainer(browser, alice):
    content = zipped(
        ("a.png", png(1)),
        ("a.txt", b"a woman"),
        ("b.png", png(2)),
        ("again.png", png(1)),
        ("sound.png", wav()),
        ("x.pdf", b"%PDF"),
    )
    answer = upload(browser, {}, content, where="/models/pictures", filename="Anna.zip")
    assert answer.status_code == 303
    page = browser.get(answer.headers["Location"]).text
    assert "2 pictures came in, as the collection “Anna”." in page
    assert "again.png was left out. It is the same file as “a”." in page
    assert "sound.png was left out." in page and "x.pdf was left out. It is no picture." in page
    pictures = Library(alice.id).find_many([each.id for each in session.query(Asset).all()])
    assert sorted((each.name, each.caption) for each in pictures.values()) == [("a", "a woman"), ("b", None)]
    assert all(f'data-id="{each}"' in page for each in pictures)


def test_the_api_says_what_came_in_and_what_was_left_out(client, as_alice):
    content = zipped(("a.png", png(1)), ("b.png", png(2)), ("c.gif", b"GIF89a"))
    said = upload(client, as_alice, content, where="/api/v1/models/pictures", filename="Anna.zip")
    assert said.status_code == 201 and [each["name"] for each in said.json["pictures"]] == ["a", "b"]
    assert said.json["left_out"] == [{"name": "c.gif", "why": "It is no picture."}]
    inside = client.get(f"/api/v1/images?collection_id={said.json['collection_id']}", headers=as_alice).json
    assert inside["total"] == 2


@pytest.mark.parametrize(
    "content",
    [zipped(("../evil.png", png())), b"no ZIP", zipped(("a.txt", b"x")), zipped(), zipped(("a.png", png()))[:-9]],
)
def test_a_bad_zip_is_said_on_the_page_and_over_json_and_nothing_is_kept(browser, as_alice, settings, content):
    there = upload(browser, {}, content, where="/models/pictures", filename="x.zip")
    assert there.status_code == 303
    assert "othing was kept." in browser.get(there.headers["Location"]).text
    answer = upload(browser, as_alice, content, where="/api/v1/models/pictures", filename="x.zip")
    assert answer.status_code == 422 and answer.json["detail"].endswith("othing was kept.")
    assert session.query(Asset).count() == 0 and stored(settings) == []
    assert list(settings.arriving_folder.glob("zip-*")) == []


def test_a_zip_that_does_not_fit_into_the_quota_brings_nothing_in(make_app, alice, bearer, settings):
    headers = bearer(alice)
    small = make_app(account_bytes_max=1000)
    answer = upload(small.test_client(), headers, zipped(("a.png", png(1, 64, 64))), where="/api/v1/models/pictures")
    assert answer.status_code == 507 and stored(settings) == []


def test_a_zip_of_too_many_bytes_is_refused():
    with pytest.raises(TooLarge, match="larger than 300 MB"):
        unpacking.check_size(unpacking.ZIP_BYTES_MAX + 1)


def test_pictures_of_a_zip_come_in_for_their_sender_only(client, alice, bob, as_alice, as_bob):
    upload(client, as_alice, zipped(("a.png", png(1))), where="/api/v1/models/pictures", filename="Anna.zip")
    assert client.get("/api/v1/images", headers=as_bob).json["total"] == 0
    assert client.get("/api/v1/collections", headers=as_bob).json["items"] == []


# --- What vendors hold ---------------------------------------------------------------------------------------------


def test_what_a_vendor_holds_is_known_until_it_is_forgotten(alice, settings):
    model = put(alice, settings, kind="model")
    with transaction():
        sent.remember(model, "original", "fal", "https://one.example")
        sent.remember(model, "original", "fal", "https://two.example")
        assert sent.known(model, "fal") == {"original": "https://two.example"} and sent.known(model, "other") == {}
        sent.forget(model, "fal")
        assert sent.known(model, "fal") == {}


def test_a_model_that_is_deleted_for_good_takes_both_its_files_along(client, alice, as_alice, settings):
    model = put(alice, settings, kind="model", previews={"high": 1})
    assert len(stored(settings)) == 2
    client.delete(f"/api/v1/models/{model.id}", headers=as_alice)
    client.delete("/api/v1/trash", headers=as_alice)
    clean_library(open_store(settings), settings)
    assert stored(settings) == []


# --- The second file -----------------------------------------------------------------------------------------------


def test_a_model_from_elsewhere_gets_its_second_file_once(browser, as_alice, work, settings):
    made = upload(browser, as_alice, weights(1)).json
    there = f"/api/v1/models/{made['id']}/high"
    assert upload(browser, as_alice, weights(2), where=there).status_code == 422  # it is still being looked at
    work()
    assert upload(browser, as_alice, pickled(), where=there).status_code == 422
    assert "High-noise weights" in browser.get(f"/assets/{made['id']}").text
    assert upload(browser, as_alice, weights(2), where=there).json["media"]["high"]["rank"] == 4
    saved = browser.get(f"/media/{made['id']}/high")
    assert saved.data == weights(2) and "mine high.safetensors" in saved.headers["Content-Disposition"]
    again = upload(browser, {}, weights(3), where=f"/assets/{made['id']}/high")
    assert "has its high-noise weights already" in browser.get(again.headers["Location"]).text
    assert len(stored(settings)) == 2


def test_anothers_model_gets_nothing(client, as_alice, as_bob, work):
    made = upload(client, as_alice, weights(1)).json
    work()
    assert upload(client, as_bob, weights(2), where=f"/api/v1/models/{made['id']}/high").status_code == 404
