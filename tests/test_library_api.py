"""Videos, audios and images through the JSON API."""

import hashlib
import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web.db import session
from tests import things

SHA = hashlib.sha256


def post(
    client: FlaskClient, who: dict[str, str], where: str, content: bytes, filename: str = "a.bin", **fields: str
) -> TestResponse:
    form = {"file": (io.BytesIO(content), filename), **fields}
    return client.post(f"/api/v1/{where}", data=form, headers=who)


def test_a_file_that_is_posted_becomes_an_asset_with_its_hash_and_its_address(client, as_alice):
    content = things.wav()
    answer = post(client, as_alice, "audios", content, "Night drive.wav")
    assert answer.status_code == 201
    asset = answer.json
    assert (asset["kind"], asset["type"], asset["name"], asset["status"]) == (
        "audio",
        "source",
        "Night drive",
        "processing",
    )
    assert asset["sha256"] == SHA(content).hexdigest() and asset["size_bytes"] == len(content)
    assert asset["thumbnail_url"] is None and asset["created_at"]
    file = client.get(asset["url"], headers=as_alice)
    assert file.data == content and file.mimetype == "audio/wav"
    assert client.get(f"/api/v1/audios/{asset['id']}", headers=as_alice).json["name"] == "Night drive"


def test_a_name_and_a_collection_may_come_with_the_file(client, as_alice):
    made = client.post("/api/v1/collections", json={"name": "Songs", "kind": "audio"}, headers=as_alice).json
    answer = post(client, as_alice, "audios", things.wav(), name="  My\nsong ", collection_id=str(made["id"]))
    assert answer.status_code == 201, answer.text
    assert answer.json["name"] == "My song" and answer.json["collection_id"] == made["id"]


@pytest.mark.parametrize(
    ("where", "content", "name"),
    [("videos", things.wav(), "song.mp4"), ("audios", things.png(), "song.mp3"), ("images", things.mp4(), "still.png")],
)
def test_a_file_of_another_kind_is_refused_by_name_of_the_field(client, as_alice, where, content, name, settings):
    answer = post(client, as_alice, where, content, name)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "file"
    assert_nothing_kept(settings)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "playlist"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "playlist"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "SVG"),
        (b"<?xml version='1.0'?><svg onload='alert(1)'/>", "SVG"),
        (b"%PDF-1.7 something", "PDF"),
        (b"PK\x03\x04 something", "ZIP"),
        (b"GIF89a something", "GIF"),
        (b"\x00\x00\x00\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"just some words", "MP4"),
        (b"\xff\xfe\0\0 text in UTF-16", "MP4"),
    ],
)
def test_what_cannot_be_used_is_refused_in_plain_words_and_nothing_is_kept(client, as_alice, content, said, settings):
    answer = post(client, as_alice, "videos", content, "clip.mp4")
    assert answer.status_code == 422 and said in answer.text
    assert_nothing_kept(settings)


def assert_nothing_kept(settings) -> None:
    assert things.stored(settings) == []
    assert session.scalar(text("SELECT count(*) FROM assets")) == 0
    assert session.scalar(text("SELECT count(*) FROM uploads")) == 0
    assert not list(settings.arriving_folder.glob("*")) and not list(settings.uploads_folder.glob("*"))


def test_a_request_without_a_file_says_which_field_is_missing(client, as_alice):
    answer = client.post("/api/v1/videos", data={"name": "x"}, headers=as_alice)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "file"


def test_the_same_bytes_are_one_asset_and_come_back_from_the_trash(client, as_alice, settings):
    first = post(client, as_alice, "audios", things.wav(), "one.wav").json
    assert client.delete(f"/api/v1/audios/{first['id']}", headers=as_alice).status_code == 204
    made = client.post("/api/v1/collections", json={"name": "Songs", "kind": "audio"}, headers=as_alice).json
    again = post(client, as_alice, "audios", things.wav(), "two.wav", collection_id=str(made["id"]))
    assert again.status_code == 201 and again.headers["Novai-Duplicate"] == "1"
    assert again.json["id"] == first["id"] and again.json["name"] == "one" and again.json["collection_id"] == made["id"]
    assert client.get(f"/api/v1/audios/{first['id']}", headers=as_alice).status_code == 200
    assert len(things.stored(settings)) == 1


def test_a_file_larger_than_the_limit_is_refused_before_its_body(make_app, alice, bearer, settings):
    client = make_app(upload_bytes_max=10_000).test_client()
    answer = client.post(
        "/api/v1/videos",
        input_stream=_Unread(3_000_000),
        headers=bearer(alice),
        content_type="multipart/form-data; boundary=x",
    )
    assert answer.status_code == 413 and answer.mimetype == "application/problem+json"
    answer = post(client, bearer(alice), "audios", things.wav(seconds=1), "long.wav")
    assert answer.status_code == 413
    assert_nothing_kept(settings)


class _Unread(io.RawIOBase):
    """A body of some length that must not be asked for."""

    def __init__(self, size: int) -> None:
        self.size, self.at = size, 0

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (self.size if whence == 2 else 0)
        return self.at

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        raise AssertionError("the body was read")


def test_a_full_account_and_a_full_disk_are_507_before_the_body(make_app, alice, bearer, settings):
    for limits in ({"account_bytes_max": 1_000_000}, {"disk_free_bytes_min": 10**18}):
        client = make_app(**limits).test_client()
        answer = client.post(
            "/api/v1/videos",
            input_stream=_Unread(5_000_000),
            headers=bearer(alice),
            content_type="multipart/form-data; boundary=x",
        )
        assert answer.status_code == 507, answer.text
    assert_nothing_kept(settings)


def test_a_large_file_never_is_in_memory(client, as_alice, settings):
    """The part of the form is on disk while it comes in: its parser is handed our own kind of file."""
    import tracemalloc

    content = things.wav(seconds=600)  # 9.6 MB
    body = io.BytesIO(_multipart(content))
    tracemalloc.start()
    answer = client.post(
        "/api/v1/audios",
        input_stream=body,
        headers=as_alice,
        content_type="multipart/form-data; boundary=edge",
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert answer.status_code == 201 and answer.json["sha256"] == SHA(content).hexdigest()
    assert peak < 6_000_000, peak


def _multipart(content: bytes) -> bytes:
    head = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    return head + content + b"\r\n--edge--\r\n"


def test_lists_are_searched_filtered_sorted_and_paged(client, alice, as_alice, settings):
    for n in range(7):
        things.put(alice, settings, name=f"Beach {n:02}", duration_seconds=float(n % 3), tags=["sea"] if n % 2 else [])
    things.put(alice, settings, name="Mountain 100%_")
    things.put(alice, settings, name="Beach song", kind="audio")

    def names(query: str) -> list[str]:
        return [item["name"] for item in client.get(f"/api/v1/videos?{query}", headers=as_alice).json["items"]]

    assert len(names("")) == 8
    assert (
        names("q=beach+03") == ["Beach 03"]
        and names("q=100%25_") == ["Mountain 100%_"]
        and names("q=%25") == ["Mountain 100%_"]
    )
    assert names("tag=sea&sort=name") == ["Beach 01", "Beach 03", "Beach 05"]
    seen, cursor, pages = [], "", 0
    while True:
        page = client.get(f"/api/v1/videos?sort=longest&limit=3&cursor={cursor}", headers=as_alice).json
        seen += [item["id"] for item in page["items"]]
        pages += 1
        assert page["total"] == 8
        if not page["next_cursor"]:
            break
        cursor = page["next_cursor"]
    assert pages == 3 and len(seen) == len(set(seen)) == 8
    assert client.get("/api/v1/videos?type=variant", headers=as_alice).json["items"] == []
    assert client.get("/api/v1/videos?since=2020-01-01&until=2020-01-02", headers=as_alice).json["items"] == []


@pytest.mark.parametrize(
    "query",
    [
        "sort=best",
        "cursor=zzz",
        "cursor=WyJuYW1lIiwxLDJd",
        "limit=0",
        "limit=100000",
        "collection_id=x",
        "since=soon",
        "nonsense=1",
    ],
)
def test_a_wrong_question_names_its_field(client, as_alice, query):
    answer = client.get(f"/api/v1/videos?{query}", headers=as_alice)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == query.partition("=")[0]


def test_an_asset_is_renamed_tagged_filed_and_taken_out_again(client, alice, as_alice, settings):
    asset = things.put(alice, settings)
    made = client.post("/api/v1/collections", json={"name": "Films", "kind": "video"}, headers=as_alice).json
    where = f"/api/v1/videos/{asset.id}"
    change = {"name": " New\u202e name ", "tags": ["A", "a", " b "], "collection_id": made["id"]}
    found = client.patch(where, json=change, headers=as_alice).json
    assert (found["name"], found["tags"], found["collection_id"]) == ("New name", ["A", "b"], made["id"])
    found = client.patch(where, json={"collection_id": None}, headers=as_alice).json
    assert found["collection_id"] is None and found["name"] == "New name"
    for wrong in ({"name": " \n "}, {"collection_id": 10**9}, {"status": "ready"}, {"tags": "a"}):
        answer = client.patch(where, json=wrong, headers=as_alice)
        assert answer.status_code == 422 and answer.json["errors"][0]["field"] == next(iter(wrong))
    other = client.post("/api/v1/collections", json={"name": "Songs", "kind": "audio"}, headers=as_alice).json
    assert client.patch(where, json={"collection_id": other["id"]}, headers=as_alice).status_code == 422


def test_the_trash_takes_and_gives_back(client, alice, as_alice, settings):
    asset = things.put(alice, settings)
    where = f"/api/v1/videos/{asset.id}"
    assert client.delete(where, headers=as_alice).status_code == 204
    assert client.get(where, headers=as_alice).status_code == 404
    assert client.get("/api/v1/videos", headers=as_alice).json["items"] == []
    assert client.post(f"{where}/restore", headers=as_alice).json["id"] == asset.id
    assert client.get(where, headers=as_alice).status_code == 200
    assert client.delete(where.replace("videos", "audios"), headers=as_alice).status_code == 404


def test_a_detail_says_what_it_was_made_from_and_what_was_made_from_it(client, alice, as_alice, settings):
    source, made = (
        things.put(alice, settings, name="Source"),
        things.put(alice, settings, type="variant", recipe={"n": 1}),
    )
    things.made_from(made, source)
    found = client.get(f"/api/v1/videos/{made.id}", headers=as_alice).json
    assert found["recipe"] == {"n": 1} and found["made_from"][0]["asset_id"] == source.id
    assert client.get(f"/api/v1/videos/{source.id}", headers=as_alice).json["made_into"] == [made.id]
    client.delete(f"/api/v1/videos/{source.id}", headers=as_alice)
    left = client.get(f"/api/v1/videos/{made.id}", headers=as_alice).json["made_from"][0]
    assert left["asset_id"] is None and left["label"] == "Source"


def test_a_list_asks_the_database_the_same_few_things_however_long_it_is(
    client, alice, as_alice, settings, queries: Callable
):
    def asked() -> int:
        with queries() as said:
            assert client.get("/api/v1/videos", headers=as_alice).status_code == 200
        return len(said)

    things.put(alice, settings)
    few = asked()
    for _ in range(20):
        things.put(alice, settings, tags=["x"])
    assert asked() == few <= 5


def test_the_trash_is_listed_and_emptied(client, alice, bob, as_alice, bearer, settings):
    mine, theirs = things.put(alice, settings), things.put(bob, settings)
    client.delete(f"/api/v1/videos/{mine.id}", headers=as_alice)
    client.delete(f"/api/v1/videos/{theirs.id}", headers=bearer(bob))
    found = client.get("/api/v1/trash", headers=as_alice).json
    assert [item["id"] for item in found["items"]] == [mine.id] and found["total"] == 1
    assert client.delete("/api/v1/trash", headers=as_alice).json == {"deleted": 1}
    assert client.get("/api/v1/trash", headers=as_alice).json["items"] == []
    assert client.get("/api/v1/trash", headers=bearer(bob)).json["total"] == 1
