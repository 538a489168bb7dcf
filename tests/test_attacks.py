"""What hostile and clumsy clients send: each is told what is wrong, and nothing of ours breaks over it."""

import base64
import hashlib
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from flask.testing import FlaskClient
from gunicorn.http.errors import InvalidChunkSize

from novai_web import jobs
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines.store.local import LocalStore
from novai_web.engines.store.parts import Finished
from novai_web.jobs import Batch, arrivals, batches
from novai_web.library import presets, words
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.library.uploads import Announced
from novai_web.tools import echo
from tests import things
from tests.test_throttling import guess


@pytest.fixture
def page(client: FlaskClient, alice, sign_in: Callable) -> FlaskClient:
    """A browser in which Alice is signed in."""
    sign_in(client, alice)
    return client


@pytest.fixture
def batch(alice, settings: Settings) -> Batch:
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 1}, settings).batch
    assert made is not None
    return made


class Garbled:
    """A body in whose middle the server finds a chunk without a size."""

    def read(self, size: int = -1) -> bytes:
        raise InvalidChunkSize(b"zz")


GARBLED: dict[str, Any] = {
    "environ_overrides": {
        "wsgi.input": Garbled(),
        "wsgi.input_terminated": True,
        "HTTP_TRANSFER_ENCODING": "chunked",
    }
}


def cursor(said: Any) -> str:
    return base64.urlsafe_b64encode(said if isinstance(said, bytes) else json.dumps(said).encode()).decode()


@pytest.mark.parametrize(
    "altered",
    [b"[" * 1400, ["longest", 10**400, 1], ["longest", 2**63, 1], ["longest", 1, 2**63], ["longest", "\0", 1]],
    ids=["deep", "endless", "key too large", "id too large", "text"],
)
@pytest.mark.parametrize("where", ["/videos", "/api/v1/videos"])
def test_an_altered_cursor_is_refused(page: FlaskClient, where: str, altered: Any) -> None:
    answer = page.get(where, query_string={"sort": "longest", "cursor": cursor(altered)})
    assert answer.status_code == 422, answer.text[:300]


@pytest.mark.parametrize("asked", [{"status": "\0"}, {"status": "done"}, {"tool": "\0"}, {"cursor": str(2**63)}])
def test_jobs_are_only_asked_for_by_what_there_can_be(page: FlaskClient, asked: dict[str, str]) -> None:
    assert page.get("/api/v1/jobs", query_string=asked).status_code == 422


def test_no_batch_comes_before_an_id_that_cannot_be(page: FlaskClient) -> None:
    assert page.get("/api/v1/batches", query_string={"cursor": str(2**63)}).status_code == 422


@pytest.mark.parametrize("asked", [{"state": "\0"}, {"state": "x" * 3000}, {"cursor": "9" * 30}])
def test_a_batch_is_shown_whatever_its_address_asks(page: FlaskClient, batch: Batch, asked: dict[str, str]) -> None:
    assert page.get(f"/batches/{batch.id}", query_string=asked).status_code == 200


@pytest.mark.parametrize("since", ["\0", "0001-01-01", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_what_changed_since_the_beginning_of_time_can_be_asked(page: FlaskClient, batch: Batch, since: str) -> None:
    assert page.get(f"/batches/{batch.id}/live", query_string={"since": since}).status_code == 200


@pytest.mark.parametrize("number", ["9" * 30, "9" * 5000, "\0", "１２", "-1", ""])
def test_keeping_outputs_that_cannot_be_keeps_nothing(
    page: FlaskClient, alice, settings: Settings, batch: Batch, number: str
) -> None:
    made = things.put(alice, settings, expires_at=batch.created_at)
    with transaction():
        jobs.outputs(batch_id=batch.id)[0].output.asset_id = made.id
    assert page.post(f"/batches/{batch.id}/keep", data={"n": number}).status_code == 303
    session.rollback()
    assert session.get_one(Asset, made.id, populate_existing=True).expires_at is not None


def test_a_tool_refuses_text_that_cannot_be_stored(page: FlaskClient, alice, settings: Settings) -> None:
    given = {"videos": [things.put(alice, settings).id], "name_template": "\0{n}"}
    answer = page.post("/api/v1/tools/variants/jobs", json=given)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "name_template"
    assert page.post("/tools/variants/jobs", data=given).status_code == 422


def test_a_preset_keeps_plain_text(page: FlaskClient, alice) -> None:
    sent = {"preset_name": "My\0 own", "name_template": "\0{n}\x1b"}
    assert page.post("/tools/variants/presets", data=sent).status_code == 200
    kept = presets.listed(Library(alice.id), "variants")[0]
    assert (kept.name, kept.values["name_template"]) == ("My own", "{n}")


@pytest.mark.parametrize("where", ["/sign-in", "/library/upload", "/api/v1/videos", "/api/v1/hooks"])
@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_a_body_that_breaks_off_is_no_error_of_ours(page: FlaskClient, where: str, kind: str) -> None:
    assert page.post(where, content_type=kind, **GARBLED).status_code in (400, 422)


def test_a_part_of_an_upload_that_breaks_off_is_no_error_of_ours(page: FlaskClient) -> None:
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "100", "Upload-Offset": "0"}
    where = page.post("/api/v1/uploads", headers=tus).headers["Location"]
    answer = page.patch(where, headers=tus, content_type="application/offset+octet-stream", **GARBLED)
    assert answer.status_code == 400
    assert page.head(where, headers=tus).headers["Upload-Offset"] == "0"


def test_a_body_that_breaks_off_does_not_lift_the_limit_of_tries(client: FlaskClient, alice) -> None:
    assert [guess(client) for _ in range(5)] == [401] * 5
    for _ in range(3):
        client.post("/api/v1/auth/login", content_type="application/json", **GARBLED)
        assert guess(client) == 429


def test_a_stranger_cannot_fill_the_disk(app, settings: Settings) -> None:
    large = {"file": (BytesIO(b"x" * 5 * 1024 * 1024), "clip.mp4")}
    assert app.test_client().post("/library/upload", data=large).status_code == 413


def test_the_same_file_sent_twice_at_once_is_stored_once(alice, settings: Settings, tmp_path: Path) -> None:
    content, library = things.wav(7), Library(alice.id)
    path = tmp_path / "song.wav"
    path.write_bytes(content)
    whole = Finished(path, hashlib.sha256(content).hexdigest(), len(content))
    announced = Announced(size_bytes=len(content), filename="song.wav")
    received: list[arrivals.Received] = []

    class Overtaken(LocalStore):
        """While the first of them is being stored, the second comes in."""

        def put(self, key: str, path: Path, content_type: str) -> None:
            received.append(arrivals.take(library, announced, whole, store, settings))
            super().put(key, path, content_type)

    store = LocalStore(settings.files_folder)
    received.append(arrivals.take(library, announced, whole, Overtaken(settings.files_folder), settings))
    first, second = (each.asset for each in received)
    assert first.id == second.id
    assert [key for key, _ in store.list("assets")] == [first.store_key]


def test_a_zip_opens_its_files_one_by_one(page: FlaskClient, alice, settings: Settings) -> None:
    for _ in range(20):
        things.put(alice, settings)
    answer = page.post("/library/zip", data={"all": "1", "kind": "video"}, buffered=False)
    beginning = next(answer.iter_encoded())
    files = str(settings.files_folder.resolve())
    opened = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink() and files in str(path.readlink())]
    assert len(opened) <= 1
    archive = ZipFile(BytesIO(beginning + b"".join(answer.iter_encoded())))
    assert archive.testzip() is None and len(archive.namelist()) == 20


def test_a_flood_of_wrong_fields_is_answered_briefly(page: FlaskClient) -> None:
    answer = page.post("/api/v1/tools/variants/quote", json={f"field{n}": n for n in range(5000)})
    assert answer.status_code == 422 and len(answer.json["errors"]) <= 100
    answer = page.post("/api/v1/hooks/bulk", json={"texts": [1] * 100_000})
    assert answer.status_code == 422 and len(answer.json["errors"]) == 1


@pytest.mark.parametrize("nothing", ["\u200b", "\ufeff", "\u202e", " \u2060 "])
def test_a_name_can_be_seen(page: FlaskClient, alice, settings: Settings, nothing: str) -> None:
    asset = things.put(alice, settings)
    assert page.patch(f"/api/v1/videos/{asset.id}", json={"name": nothing}).status_code == 422
    assert page.put("/api/v1/users/profile", json={"name": nothing}).status_code == 422
    assert words.name_of_file(f"{nothing}.mp4") == "Untitled"


def test_a_rebuild_never_answers_with_what_a_submit_made(alice, settings: Settings) -> None:
    with transaction():
        first = jobs.submit(alice, echo.tool, {"copies": 1}, settings).batch
        assert first is not None
        second = jobs.submit(alice, echo.tool, first.input, settings, key="api:again").batch
        assert second is not None
        made = batches.rebuild(alice, second, settings, key="api:again").batch
        assert made is not None and made.id not in (first.id, second.id) and made.rebuilt_from_id == second.id
        assert batches.rebuild(alice, second, settings, key="api:again").batch is made
        assert second.rebuilt_from_id is None
