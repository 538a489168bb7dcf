"""A disk that is nearly full: both doors refuse what would fill it, before anything is taken in, and say so."""

import io

import pytest
from sqlalchemy import text

from novai_web.db import session
from tests import things


@pytest.fixture
def full(make_app):
    return make_app(disk_free_bytes_min=2**60).test_client()


def nothing_was_kept(settings) -> bool:
    counts = "SELECT (SELECT count(*) FROM assets) + (SELECT count(*) FROM uploads) + (SELECT count(*) FROM jobs)"
    rows = session.scalar(text(f"{counts} + (SELECT count(*) FROM holds) + (SELECT count(*) FROM submissions)"))
    folders = (settings.uploads_folder, settings.arriving_folder, settings.files_folder)
    return rows == 0 and not [path for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_an_upload_from_a_program_is_refused(full, as_alice, settings):
    begun = full.post("/api/v1/uploads", headers={**as_alice, "Tus-Resumable": "1.0.0", "Upload-Length": "1000"})
    whole = full.post("/api/v1/audios", data={"file": (io.BytesIO(things.wav()), "a.wav")}, headers=as_alice)
    for answer in (begun, whole):
        assert answer.status_code == 507 and answer.json["code"] == "disk_full"
        assert answer.json["detail"].startswith("The storage is full. Nothing was kept;")
    assert nothing_was_kept(settings)


def test_an_upload_from_a_page_is_refused_in_words(full, alice, sign_in, settings):
    sign_in(full, alice)
    answer = full.post("/library/upload", data={"file": (io.BytesIO(things.wav()), "a.wav")})
    assert answer.status_code == 507 and "The storage is full. Nothing was kept;" in answer.text
    assert nothing_was_kept(settings)


def test_a_submit_from_a_program_is_refused_and_holds_nothing(full, as_alice, settings):
    given = {"copies": 500, "credits": 1}
    answer = full.post("/api/v1/tools/echo/jobs", json=given, headers={**as_alice, "Idempotency-Key": "k"})
    assert answer.status_code == 507 and answer.json["code"] == "disk_full"
    assert answer.json["detail"].startswith("The disk is nearly full, so nothing new is started.")
    assert nothing_was_kept(settings)
    assert session.scalar(text("SELECT held FROM wallets")) == 0


def test_a_submit_from_a_page_is_refused_in_words(full, alice, sign_in, settings):
    sign_in(full, alice)
    answer = full.post("/tools/echo/jobs", data={"copies": "2"})
    assert answer.status_code == 507 and "The disk is nearly full, so nothing new is started." in answer.text
    assert nothing_was_kept(settings)


def test_trying_again_is_starting_something_too(full, client, as_alice, work):
    made = client.post("/api/v1/tools/echo/jobs", json={"copies": 1, "trouble": "refuse"}, headers=as_alice).json
    work()
    answer = full.post(f"/api/v1/jobs/{made['jobs'][0]['id']}/retry", headers=as_alice)
    assert answer.status_code == 507 and "nothing new is started" in answer.json["detail"]
    assert session.scalar(text("SELECT count(*) FROM jobs")) == 1


def test_looking_and_deleting_still_work(full, alice, as_alice, sign_in, settings):
    asset = things.put(alice, settings)
    sign_in(full, alice)
    assert full.get("/videos").status_code == 200
    assert full.get(f"/assets/{asset.id}").status_code == 200
    assert full.delete(f"/api/v1/videos/{asset.id}", headers=as_alice).status_code == 204
