"""Resumable uploads over HTTP: whatever happens to the connection, the exact bytes arrive once."""

import base64
import hashlib
import io
import threading
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient
from sqlalchemy import text
from werkzeug.test import TestResponse

from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import arrivals, cleaning
from novai_web.library import uploads
from novai_web.library.assets import Library
from tests import things

TUS = {"Tus-Resumable": "1.0.0"}
PART = "application/offset+octet-stream"


class Sender:
    """A tus client with one account's token."""

    def __init__(self, client: FlaskClient, headers: dict[str, str]) -> None:
        self.client, self.headers = client, {**headers, **TUS}

    def begin(self, size: int | str, **told: str) -> TestResponse:
        pairs = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in told.items())
        headers = {**self.headers, "Upload-Length": str(size), "Upload-Metadata": pairs}
        return self.client.post("/api/v1/uploads", headers=headers)

    def send(self, where: str, offset: int | str, content: bytes, **headers: str) -> TestResponse:
        told = {**self.headers, "Upload-Offset": str(offset), **headers}
        return self.client.patch(where, data=content, headers=told, content_type=headers.get("content_type", PART))

    def ask(self, where: str) -> TestResponse:
        return self.client.head(where, headers=self.headers)

    def whole(self, content: bytes, **told: str) -> TestResponse:
        return self.send(self.begin(len(content), **told).headers["Location"], 0, content)


@pytest.fixture
def alices(client, alice, bearer) -> Sender:
    return Sender(client, bearer(alice))


@pytest.fixture
def bobs(client, bob, bearer) -> Sender:
    return Sender(client, bearer(bob))


def asset_of(answer: TestResponse) -> int:
    return int(answer.headers["Novai-Asset"])


def sha256_of(client: FlaskClient, sender: Sender, asset_id: int) -> str:
    return hashlib.sha256(client.get(f"/media/{asset_id}/original", headers=sender.headers).data).hexdigest()


def test_the_server_says_what_it_speaks(client, settings):
    answer = client.options("/api/v1/uploads")
    assert answer.status_code in (200, 204) and answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) >= {"creation", "termination", "expiration"}
    assert answer.headers["Tus-Max-Size"] == str(settings.upload_bytes_max)


def test_another_version_of_tus_is_refused_with_ours(client, alices):
    answer = client.post("/api/v1/uploads", headers={**alices.headers, "Tus-Resumable": "0.2.2", "Upload-Length": "5"})
    assert answer.status_code == 412 and answer.headers["Tus-Version"] == "1.0.0"


def test_a_file_in_parts_becomes_the_exact_bytes_and_an_asset(client, alices):
    content = things.wav(seconds=2)
    where = alices.begin(len(content), filename="Ünder the ⭐.wav").headers["Location"]
    for start in range(0, len(content), 10_000):
        assert alices.ask(where).headers["Upload-Offset"] == str(start)
        answer = alices.send(where, start, content[start : start + 10_000])
        assert answer.status_code == 204 and answer.headers["Tus-Resumable"] == "1.0.0"
    assert sha256_of(client, alices, asset_of(answer)) == hashlib.sha256(content).hexdigest()
    found = client.get(f"/api/v1/audios/{asset_of(answer)}", headers=alices.headers).json
    assert found["name"] == "Ünder the ⭐" and found["size_bytes"] == len(content)
    after = alices.ask(where)
    assert (
        after.headers["Upload-Offset"] == str(len(content))
        and after.headers["Novai-Asset"] == answer.headers["Novai-Asset"]
    )


EDGE = 4096


@pytest.mark.parametrize("cut", [0, 1, EDGE - 1, EDGE, EDGE + 1, 2 * EDGE - 1, 2 * EDGE, 2 * EDGE + 1, -1])
def test_a_connection_cut_anywhere_goes_on_where_the_disk_ends(client, alices, cut):
    content = things.wav(seconds=1.5)
    cut = len(content) - 1 if cut == -1 else cut
    where = alices.begin(len(content)).headers["Location"]
    told = {**alices.headers, "Upload-Offset": "0"}
    cut_off = client.patch(where, input_stream=_Cut(content, cut), headers=told, content_type=PART)
    assert cut_off.status_code >= 400
    offset = int(alices.ask(where).headers["Upload-Offset"])
    assert offset == cut
    answer = alices.send(where, offset, content[offset:])
    assert sha256_of(client, alices, asset_of(answer)) == hashlib.sha256(content).hexdigest()


class _Cut(io.BytesIO):
    """A body that is announced whole and ends after `cut` bytes, as a socket does when the line is cut."""

    def __init__(self, content: bytes, cut: int) -> None:
        super().__init__(content)
        self.cut = cut

    def read(self, size: int = -1) -> bytes:
        left = self.cut - self.tell()
        return super().read(left if size < 0 else min(size, left))

    def readinto(self, buffer) -> int:
        part = self.read(len(buffer))
        buffer[: len(part)] = part
        return len(part)


def test_a_wrong_offset_is_a_409_and_changes_nothing(alices):
    content = things.wav()
    where = alices.begin(len(content)).headers["Location"]
    alices.send(where, 0, content[:100])
    for offset in (0, 99, 101, len(content), 10**17):
        assert alices.send(where, offset, content[100:]).status_code == 409
    assert alices.ask(where).headers["Upload-Offset"] == "100"
    assert alices.send(where, "x", b"").status_code == 422
    assert alices.send(where, 100, b"abc", content_type="text/plain").status_code == 415


def test_more_bytes_than_announced_are_refused(alices):
    content = things.wav()
    where = alices.begin(len(content) - 1).headers["Location"]
    assert alices.send(where, 0, content).status_code == 413
    assert alices.ask(where).headers["Upload-Offset"] == "0"


@pytest.mark.parametrize("size", ["", "x", "-1", "1.5", "0", "٣", "9" * 30])
def test_a_length_that_is_none_is_refused(alices, size):
    assert alices.begin(size).status_code == 422


def test_a_file_too_large_or_past_the_quota_or_the_disk_is_refused_at_once(make_app, alice, bearer):
    for limits, status in (
        ({"upload_bytes_max": 999}, 413),
        ({"account_bytes_max": 999}, 507),
        ({"disk_free_bytes_min": 10**18}, 507),
    ):
        sender = Sender(make_app(**limits).test_client(), bearer(alice))
        answer = sender.begin(1000)
        assert answer.status_code == status and answer.json["code"]
        assert answer.headers["Tus-Resumable"] == "1.0.0"


def test_two_uploads_at_once_cannot_both_have_the_last_of_a_quota(make_app, alice, bearer):
    app = make_app(account_bytes_max=1000)
    headers = bearer(alice)
    said: list[int] = []
    tries = [
        threading.Thread(target=lambda: said.append(Sender(app.test_client(), headers).begin(600).status_code))
        for _ in range(6)
    ]
    for each in tries:
        each.start()
    for each in tries:
        each.join()
    assert sorted(said) == [201, 507, 507, 507, 507, 507]


def test_a_stranger_finds_no_upload_of_anothers(client, alices, bobs):
    where = alices.begin(100).headers["Location"]
    for answer in (
        bobs.ask(where),
        bobs.send(where, 0, b"x"),
        bobs.client.delete(where, headers=bobs.headers),
        client.get(where, headers=bobs.headers),
    ):
        assert answer.status_code == 404
    assert client.head(where, headers=TUS).status_code == 401
    assert alices.ask(where).headers["Upload-Offset"] == "0"


def test_a_foreign_collection_is_not_taken(client, alices, bobs):
    theirs = client.post("/api/v1/collections", json={"name": "Mine", "kind": "audio"}, headers=bobs.headers).json["id"]
    answer = alices.begin(100, collection_id=str(theirs))
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "collection_id"


def test_two_tabs_that_send_the_same_file_end_in_the_same_asset(client, alices):
    """The second overtakes the first, whose connection hangs; what the first still sends is not mixed in."""
    content = things.wav(seconds=1)
    where = alices.begin(len(content)).headers["Location"]
    inside, go_on = threading.Event(), threading.Event()

    class Hanging(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            inside.set()
            go_on.wait(10)
            return super().read(size)

    told = {**alices.headers, "Upload-Offset": "0"}
    first: list[TestResponse] = []

    def send_slowly() -> None:
        tab = client.application.test_client()
        first.append(tab.patch(where, input_stream=Hanging(content), headers=told, content_type=PART))

    tab = threading.Thread(target=send_slowly)
    tab.start()
    assert inside.wait(10)
    second = alices.send(where, 0, content)
    go_on.set()
    tab.join()
    assert second.status_code == first[0].status_code == 204
    assert asset_of(second) == asset_of(first[0])
    assert sha256_of(client, alices, asset_of(second)) == hashlib.sha256(content).hexdigest()


def test_two_tabs_cannot_mix_their_bytes(client, alices):
    """Each sends a piece from where it believes the file to end; one of them is told where it really does."""
    content = things.wav(seconds=1)
    where = alices.begin(len(content)).headers["Location"]
    assert alices.send(where, 0, content[:5000]).status_code == 204
    assert alices.send(where, 0, content[:9000]).status_code == 409
    assert alices.send(where, 4000, content[4000:9000]).status_code == 409
    answer = alices.send(where, 5000, content[5000:])
    assert sha256_of(client, alices, asset_of(answer)) == hashlib.sha256(content).hexdigest()


def test_the_announced_hash_is_checked_end_to_end(alices, settings):
    content = things.wav()
    good, wrong = hashlib.sha256(content).hexdigest(), hashlib.sha256(b"other").hexdigest()
    answer = alices.whole(content, sha256=wrong)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "sha256"
    assert things.stored(settings) == [] and not list(settings.uploads_folder.glob("*"))
    assert alices.begin(10, sha256="short").status_code == 422
    assert alices.whole(content, sha256=good).status_code == 204


def test_what_cannot_be_used_is_refused_at_the_end_and_nothing_is_kept(alices, settings):
    answer = alices.whole(b"#EXTM3U\n/etc/passwd\n", filename="clip.mp4", kind="video")
    assert answer.status_code == 422 and "playlist" in answer.json["detail"]
    assert things.stored(settings) == [] and not list(settings.uploads_folder.glob("*"))
    assert session.scalar(text("SELECT count(*) FROM uploads")) == 0


def test_the_kind_is_what_the_bytes_say_not_what_the_page_hoped(client, alices):
    answer = alices.whole(things.wav(), filename="a.mp4", kind="video", filetype="video/mp4")
    assert client.get(f"/api/v1/audios/{asset_of(answer)}", headers=alices.headers).status_code == 200


def test_a_duplicate_ends_in_the_asset_one_has_and_is_stored_once(client, alices, bobs, settings):
    content = things.wav()
    first = alices.whole(content)
    assert "Novai-Duplicate" not in first.headers
    client.delete(f"/api/v1/audios/{asset_of(first)}", headers=alices.headers)
    again = alices.whole(content)
    assert asset_of(again) == asset_of(first) and again.headers["Novai-Duplicate"] == "1"
    assert client.get(f"/api/v1/audios/{asset_of(first)}", headers=alices.headers).status_code == 200
    other = bobs.whole(content)
    assert asset_of(other) != asset_of(first) and "Novai-Duplicate" not in other.headers
    assert len(things.stored(settings)) == 2
    assert not list(settings.uploads_folder.glob("*"))


def test_the_same_bytes_arriving_by_two_uploads_at_once_are_one_asset(app, alice, settings):
    """Both looked for a twin before either had one: the index decides, the loser is linked to the winner."""
    content = things.wav()
    store = open_store(settings)
    first, second = (_arrived(alice.id, content, settings) for _ in range(2))
    received = []
    for upload, finished in (first, second):
        with transaction():
            uploads.reserve(upload)
        found = uploads.inspect(upload, finished)
        received.append(arrivals._store(upload, finished, found, upload.reserved_id, store, None))
    assert [each.is_duplicate for each in received] == [False, True]
    assert received[0].asset.id == received[1].asset.id
    with transaction():
        session.execute(text("UPDATE uploads SET expires_at = now() - interval '1 minute'"))
    cleaning.clean_library(store, settings)
    assert things.stored(settings) == [received[0].asset.store_key]


def _arrived(account_id: int, content: bytes, settings: Settings):
    """An upload whose bytes are all there, not yet ended."""
    with transaction():
        upload = uploads.begin(
            Library(account_id), uploads.Announced(size_bytes=len(content)), settings, open_store(settings)
        )
    partial = uploads.partial(upload, settings)
    partial.create(len(content))
    partial.append(0, io.BytesIO(content))
    return upload, partial.finish()


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs, nothing is cleared away by us."""


KILL_POINTS = ["before anything", "after the id is reserved", "after the file is stored", "before the last commit"]


@pytest.mark.parametrize("point", KILL_POINTS)
def test_a_kill_between_the_last_byte_and_the_asset_is_mended_by_asking_again(
    client, alice, alices, settings, monkeypatch, point
):
    content = things.wav()
    upload, finished = _arrived(alice.id, content, settings)
    where, store = f"/api/v1/uploads/{upload.id}", open_store(settings)

    def killed(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as at:
        if point == KILL_POINTS[0]:
            at.setattr(uploads, "link", killed)
        elif point == KILL_POINTS[1]:
            at.setattr(store, "put", killed, raising=False)
        elif point == KILL_POINTS[2]:
            at.setattr(uploads, "settle", killed)
        else:
            at.setattr(arrivals, "submit_internal", killed)
        with pytest.raises(Killed):
            arrivals.receive(upload, finished, store, settings)
    session.remove()
    assert session.scalar(text("SELECT count(*) FROM assets")) == 0
    answer = alices.ask(where)
    assert (
        answer.status_code == 200 and sha256_of(client, alices, asset_of(answer)) == hashlib.sha256(content).hexdigest()
    )
    assert len(things.stored(settings)) == 1
    assert session.scalar(text("SELECT count(*) FROM jobs WHERE tool_slug = 'prepare'")) == 1


def test_an_upload_can_be_given_up(client, alices, settings):
    where = alices.begin(1000).headers["Location"]
    alices.send(where, 0, b"x" * 10)
    assert client.delete(where, headers=alices.headers).status_code == 204
    assert alices.ask(where).status_code == 404
    assert not list(settings.uploads_folder.glob("*"))


def test_an_upload_nobody_continues_is_cleared_away(alices, settings):
    where = alices.begin(1000).headers["Location"]
    alices.send(where, 0, b"x" * 10)
    with transaction():
        session.execute(text("UPDATE uploads SET expires_at = now() - interval '1 second'"))
    assert alices.ask(where).status_code == 404
    cleaning.clean_library(open_store(settings), settings)
    assert not list(settings.uploads_folder.glob("*"))
    assert session.scalar(text("SELECT count(*) FROM uploads")) == 0


def test_a_form_without_tus_may_carry_the_first_bytes(client, alices):
    content = things.wav()
    headers = {**alices.headers, "Upload-Length": str(len(content))}
    answer = client.post("/api/v1/uploads", data=content, headers=headers, content_type=PART)
    assert answer.status_code == 201 and answer.headers["Location"] and asset_of(answer)


def test_a_browser_with_a_session_needs_the_csrf_token(app, client: FlaskClient, alice, sign_in: Callable):
    sign_in(client, alice)
    token = client.environ_base.pop("HTTP_X_CSRFTOKEN")
    assert client.post("/api/v1/uploads", headers={**TUS, "Upload-Length": "5"}).status_code == 400
    answer = client.post("/api/v1/uploads", headers={**TUS, "Upload-Length": "5", "X-CSRFToken": token})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "..\\..\\boot.ini",
        "a\r\nSet-Cookie: x=1.wav",
        "x\x00.wav",
        "\u202egnp.wav",
        "a%03d.wav",
        "💥" * 300,
        "",
        ".",
    ],
)
def test_a_hostile_name_stays_a_harmless_one(client, alices, name, settings):
    answer = alices.whole(things.wav(), filename=name)
    assert answer.status_code == 204
    found = client.get(f"/api/v1/audios/{asset_of(answer)}", headers=alices.headers).json
    assert found["name"] and len(found["name"]) <= 200 and not set("/\\\r\n\0\u202e") & set(found["name"])
    file = client.get(f"/media/{asset_of(answer)}/original?download=1", headers=alices.headers)
    assert file.status_code == 200 and "Set-Cookie" not in file.headers.get("Content-Disposition", "").split(";")[0]
    assert things.stored(settings) == [f"assets/{asset_of(answer)}/original.wav"]
