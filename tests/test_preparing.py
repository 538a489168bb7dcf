"""After an upload the file is looked at: ready with its facts and previews, or failed with a sentence."""

import io
from pathlib import Path

import pytest
from sqlalchemy import text

from novai_web import jobs
from novai_web.db import session, transaction
from novai_web.engines import ffmpeg
from novai_web.engines.store import open_store
from novai_web.library import editing, trash
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from tests import media, things


@pytest.fixture
def prepare(app, settings):
    """Do what the workers would."""

    def until_idle() -> None:
        while jobs.run_slice("io", open_store(settings), settings):
            pass

    return until_idle


def post(client, who, where: str, content: bytes, name: str = "a.bin") -> dict:
    answer = client.post(f"/api/v1/{where}", data={"file": (io.BytesIO(content), name)}, headers=who)
    assert answer.status_code == 201, answer.text
    return answer.json


@pytest.mark.parametrize(
    ("make", "where", "name", "parts"),
    [
        (media.rotated, "videos", "clip.mp4", {"poster", "thumb", "clip"}),
        (media.vp9, "videos", "clip.webm", {"poster", "thumb", "clip"}),
        (media.audio, "audios", "song.mp3", {"waveform"}),
        (media.audio, "audios", "song.m4a", {"waveform"}),
        (media.image, "images", "still.png", {"poster", "thumb"}),
    ],
)
def test_a_file_is_ready_with_its_facts_and_previews(
    client, as_alice, prepare, tmp_path: Path, make, where, name, parts
):
    content = make(tmp_path / name).read_bytes()
    asset = post(client, as_alice, where, content, name)
    prepare()
    found = client.get(f"/api/v1/{where}/{asset['id']}", headers=as_alice).json
    assert found["status"] == "ready" and set(found["previews"]) == parts, found
    if where != "audios":
        assert found["width"] and found["height"]
    if where != "images":
        assert found["duration_seconds"] > 1
    assert found["thumbnail_url"]
    for url in (*found["previews"].values(), found["url"]):
        answer = client.get(url, headers=as_alice)
        assert answer.status_code == 200 and answer.mimetype.split("/")[0] in ("image", "video", "audio")
    saved = client.get(f"{found['url']}?download=1", headers=as_alice).headers["Content-Disposition"]
    assert Path(name).suffix in saved


def test_a_phone_clip_is_as_large_as_it_is_shown(client, as_alice, prepare, tmp_path):
    asset = post(client, as_alice, "videos", media.rotated(tmp_path / "phone.mp4").read_bytes())
    prepare()
    found = client.get(f"/api/v1/videos/{asset['id']}", headers=as_alice).json
    assert (found["width"], found["height"]) == (180, 320)


def test_an_mp4_with_sound_alone_is_an_audio(client, as_alice, prepare, tmp_path):
    path = media.audio(tmp_path / "song.m4a")
    content = path.read_bytes().replace(b"ftypM4A ", b"ftypisom", 1)
    asset = post(client, as_alice, "audios", content, "song.mp4")
    prepare()
    assert client.get(f"/api/v1/audios/{asset['id']}", headers=as_alice).json["status"] == "ready"


def test_what_cannot_be_decoded_fails_with_its_reason_and_leaves_no_file(client, as_alice, prepare, settings):
    asset = post(client, as_alice, "videos", things.mp4(), "broken.mp4")
    assert things.stored(settings)
    prepare()
    found = client.get(f"/api/v1/videos/{asset['id']}", headers=as_alice).json
    assert found["status"] == "failed" and found["error"] and found["size_bytes"] == 0
    assert things.stored(settings) == []
    assert client.get(found["url"], headers=as_alice).status_code == 404


def test_a_failed_file_may_be_sent_again(client, as_alice, prepare):
    first = post(client, as_alice, "videos", things.mp4(), "broken.mp4")
    prepare()
    second = post(client, as_alice, "videos", things.mp4(), "broken.mp4")
    assert first["id"] != second["id"] and second["status"] == "processing"


def test_a_failed_preview_is_not_a_failed_upload(client, as_alice, prepare, tmp_path, monkeypatch):
    content = media.video(tmp_path / "a.mp4").read_bytes()
    asset = post(client, as_alice, "videos", content)
    monkeypatch.setattr(ffmpeg, "previews", lambda *_: {})
    prepare()
    found = client.get(f"/api/v1/videos/{asset['id']}", headers=as_alice).json
    assert found["status"] == "ready" and found["previews"] == {} and found["thumbnail_url"] is None


def test_what_is_thrown_away_while_it_is_looked_at_can_come_back(client, alice, as_alice, prepare, tmp_path):
    asset = post(client, as_alice, "images", media.image(tmp_path / "a.png").read_bytes())
    library = Library(alice.id)
    with transaction():
        trash.throw_away(library, editing.chosen(library, [asset["id"]]))
    prepare()
    with transaction():
        trash.restore(library, ids=[asset["id"]])
    assert client.get(f"/api/v1/images/{asset['id']}", headers=as_alice).json["status"] == "ready"


def test_what_is_deleted_for_good_meanwhile_is_left_alone(client, alice, as_alice, prepare, settings, tmp_path):
    asset = post(client, as_alice, "images", media.image(tmp_path / "a.png").read_bytes())
    with transaction():
        session.execute(text("UPDATE assets SET trashed_at = now(), deleting_at = now()"))
    prepare()
    session.expire_all()
    assert session.get(Asset, asset["id"]).status == "processing"
    assert session.scalar(text("SELECT state FROM jobs WHERE tool_slug = 'prepare'")) == "succeeded"


def test_a_file_that_stops_every_worker_is_marked_as_failed(client, as_alice, prepare, tmp_path):
    asset = post(client, as_alice, "images", media.image(tmp_path / "a.png").read_bytes())
    with transaction():
        session.execute(text("UPDATE jobs SET lost_attempts = 3"))
    prepare()
    found = client.get(f"/api/v1/images/{asset['id']}", headers=as_alice).json
    assert found["status"] == "failed" and found["error"]


def test_a_file_whose_previews_stop_every_worker_is_ready_without_them(
    client, as_alice, prepare, tmp_path, monkeypatch
):
    asset = post(client, as_alice, "images", media.image(tmp_path / "a.png").read_bytes())

    def killed(*_: object) -> None:
        raise SystemExit

    with monkeypatch.context() as at:
        at.setattr(ffmpeg, "previews", killed)
        with pytest.raises(SystemExit):
            prepare()
    session.rollback()
    with transaction():
        session.execute(text("UPDATE jobs SET lost_attempts = 3, lease_until = now() - interval '1 second'"))
    prepare()
    found = client.get(f"/api/v1/images/{asset['id']}", headers=as_alice).json
    assert found["status"] == "ready" and found["previews"] == {} and found["width"] == 64
