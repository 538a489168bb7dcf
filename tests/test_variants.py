"""Variants through the API: real clips and sounds go in, checked videos come out."""

import io
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import av
import pytest
from flask.testing import FlaskClient
from PIL import Image

from novai_web import credits
from novai_web.db import session
from novai_web.engines.store import open_store
from tests import media


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        "beach": media.b_frames(folder / "beach.mp4"),
        "phone": media.hevc(folder / "phone.mp4"),
        "quiet": media.silent(folder / "quiet.mp4"),
        "song": media.audio(folder / "song.mp3"),
        "beat": media.audio(folder / "beat.wav", frequency=440),
    }


@pytest.fixture
def studio(client: FlaskClient, as_alice, clips, work) -> "Studio":
    return Studio(client, as_alice, clips, work)


class Studio:
    """Alice at her API."""

    def __init__(self, client: FlaskClient, who: dict[str, str], clips: dict[str, Path], work: Callable[[], None]):
        self.client, self.who, self.clips, self.work = client, who, clips, work

    def upload(self, *names: str) -> list[int]:
        ids = []
        for name in names:
            path = self.clips[name]
            kind = "audios" if path.suffix in (".mp3", ".wav") else "videos"
            data = {"file": (io.BytesIO(path.read_bytes()), path.name)}
            answer = self.client.post(f"/api/v1/{kind}", data=data, headers=self.who)
            assert answer.status_code == 201, answer.text
            ids.append(answer.json["id"])
        self.work()
        return ids

    def hooks(self, *texts: str) -> list[int]:
        answer = self.client.post("/api/v1/hooks/bulk", json={"texts": texts}, headers=self.who)
        assert answer.status_code == 201, answer.text
        return [item["id"] for item in answer.json["items"]]

    def start(self, **given: Any) -> Any:
        return self.client.post("/api/v1/tools/variants/jobs", json=given, headers=self.who)

    def make(self, **given: Any) -> tuple[dict, list[dict]]:
        """Start, let the workers work, and tell the batch and its results."""
        made = self.start(**given)
        assert made.status_code == 202, made.text
        self.work()
        batch = self.get(made.json["batch"]["status_url"])
        return batch, self.get(f"{batch['results_url']}?status=all")["items"]

    def get(self, url: str) -> dict:
        answer = self.client.get(url, headers=self.who)
        assert answer.status_code == 200, answer.text
        return answer.json

    def opened(self, result: dict) -> Any:
        answer = self.client.get(result["url"], headers=self.who)
        assert answer.status_code == 200
        return av.open(io.BytesIO(answer.data))


def test_every_video_with_every_audio_and_every_hook_is_made_once(studio):
    videos, audios, hooks = studio.upload("beach", "phone"), studio.upload("song", "beat"), studio.hooks("One", "Two")
    batch, results = studio.make(videos=videos, audios=audios, hooks=hooks, mix="every")
    assert (batch["status"], batch["done"], batch["failed"]) == ("succeeded", 8, 0), results
    triples = {(each["video_id"], each["audio_id"], each["hook_id"]) for each in results}
    assert triples == {(v, a, h) for v in videos for a in audios for h in hooks}
    assert len({each["name"] for each in results}) == 8
    for each in results:
        with studio.opened(each) as film:
            kinds = sorted(stream.type for stream in film.streams)
            assert kinds == ["audio", "video"] and film.duration / 1e6 == pytest.approx(2, abs=0.1)


def test_a_clip_without_hook_and_reframing_is_copied_bit_for_bit(studio):
    videos, audios = studio.upload("beach"), studio.upload("song")
    _, results = studio.make(videos=videos, audios=audios)
    with studio.opened(results[0]) as film, av.open(str(studio.clips["beach"])) as source:
        made = [bytes(packet) for packet in film.demux(film.streams.video[0]) if packet.size]
        given = [bytes(packet) for packet in source.demux(source.streams.video[0]) if packet.size]
    assert made == given


def test_the_zip_has_every_variant_under_the_names_of_the_template(studio):
    videos, hooks = studio.upload("beach"), studio.hooks("Look", "Wow")
    batch, _ = studio.make(videos=videos, hooks=hooks, mix="every", name_template="{date}_{video}_{hook}_{n}")
    archive = zipfile.ZipFile(io.BytesIO(studio.client.get(batch["zip_url"], headers=studio.who).data))
    today = datetime.now(UTC).date().isoformat()
    assert sorted(archive.namelist()) == [f"{today}_beach_Look_1.mp4", f"{today}_beach_Wow_2.mp4", "manifest.csv"]
    assert archive.testzip() is None


def test_an_output_knows_what_it_was_made_from_and_how_to_make_it_again(studio):
    videos, audios, hooks = studio.upload("beach"), studio.upload("song"), studio.hooks("Look")
    _, results = studio.make(videos=videos, audios=audios, hooks=hooks, hook_position="bottom")
    asset = studio.get(f"/api/v1/videos/{results[0]['asset_id']}")
    assert asset["type"] == "variant" and asset["thumbnail_url"]
    recipe = asset["recipe"]
    assert recipe["tool"] == "variants" and recipe["input"]["hook_position"] == "bottom" and recipe["hook"] == "Look"
    assert recipe["input"]["method"] == "exact"
    again, _ = studio.make(**recipe["input"])
    assert again["done"] == 1


@pytest.mark.parametrize(
    ("clip", "given", "way", "why"),
    [
        ("beach", {}, "exact", "only the pictures around the hook change"),
        ("phone", {}, "normalise", "it is HEVC"),
        ("beach", {"method": "normalise"}, "normalise", "this method was chosen"),
        ("beach", {"method": "naive"}, "naive", "this method was chosen"),
        ("beach", {"hook_duration_seconds": None}, "normalise", "the hook is on all of it"),
    ],
)
def test_an_output_says_in_which_way_its_picture_was_made_and_why(studio, clip, given, way, why):
    made = {"videos": studio.upload(clip), "hooks": studio.hooks("Look"), "hook_duration_seconds": 0.5} | given
    _, [result] = studio.make(**made)
    recipe = studio.get(f"/api/v1/videos/{result['asset_id']}")["recipe"]
    assert (recipe["way"], recipe["why"]) == (way, why)


def test_the_small_pictures_show_the_hook_and_are_there_for_every_variant(studio):
    videos, audios, hooks = studio.upload("beach"), studio.upload("song", "beat"), studio.hooks("Look")
    given = {"videos": videos, "audios": audios, "mix": "every"}
    _, shown = studio.make(**given, hooks=hooks, hook_duration_seconds=None)
    _, bare = studio.make(**given)
    with_hook, without = ([_thumb(studio, result) for result in results] for results in (shown, bare))
    assert with_hook[0] == with_hook[1] and without[0] == without[1] and with_hook[0] != without[0]
    with Image.open(io.BytesIO(with_hook[0])) as picture:
        assert picture.format == "WEBP" and picture.height > picture.width


def _thumb(studio: Studio, result: dict[str, Any]) -> bytes:
    address = studio.get(f"/api/v1/videos/{result['asset_id']}")["thumbnail_url"]
    answer = studio.client.get(address, headers=studio.who)
    assert answer.status_code == 200
    return answer.data


def test_a_sound_that_was_made_for_one_job_is_there_for_the_next(studio, settings):
    videos, audios = studio.upload("beach"), studio.upload("song")
    studio.make(videos=videos, audios=audios)
    [shelved] = [path for path in settings.shelf_folder.iterdir() if path.is_file()]
    before = shelved.stat()
    studio.make(videos=videos, audios=audios, hooks=studio.hooks("Look"))
    [again] = [path for path in settings.shelf_folder.iterdir() if path.is_file()]
    assert again.name == shelved.name and again.stat().st_ino == before.st_ino


def test_cells_that_are_crossed_out_are_not_made(studio):
    videos, hooks = studio.upload("beach"), studio.hooks("One", "Two", "Three")
    out = f"{videos[0]}-0-{hooks[1]}"
    batch, results = studio.make(videos=videos, hooks=hooks, mix="every", without=[out])
    assert batch["total"] == 2 and [each["hook_id"] for each in results] == [hooks[0], hooks[2]]


def test_a_price_set_by_the_installation_is_quoted_held_and_charged_for_each_variant(
    studio, make_app, alice, settings, work
):
    videos, hooks = studio.upload("beach"), studio.hooks("One", "Two")
    studio.client = make_app(variants_price_credits=3).test_client()
    given = {"videos": videos, "hooks": hooks, "mix": "every"}
    quote = studio.client.post("/api/v1/tools/variants/quote", json=given, headers=studio.who).json
    assert (quote["credits"], quote["outputs"]) == (6, 2) and quote["seconds"] > 0 and quote["bytes"] > 0
    before = credits.balance(alice, settings).available
    batch, _ = studio.make(**given)
    session.expire_all()
    assert batch["credits_charged"] == 6 and credits.balance(alice, settings).available == before - 6


def test_variants_are_free_unless_a_price_is_set(studio):
    quote = studio.client.post(
        "/api/v1/tools/variants/quote", json={"videos": studio.upload("quiet")}, headers=studio.who
    )
    assert quote.json["credits"] == 0


def test_one_bad_source_fails_only_its_own_variants_and_says_why(studio):
    videos, hooks = studio.upload("beach", "quiet"), studio.hooks("One")
    _spoil(studio, videos[1])
    batch, results = studio.make(videos=videos, hooks=hooks, mix="every")
    assert (batch["done"], batch["failed"], batch["credits_charged"]) == (1, 1, 0)
    failed = next(each for each in results if each["status"] == "failed")
    assert failed["video_id"] == videos[1] and "Traceback" not in failed["error"] and failed["error"].endswith(".")


def test_a_file_that_is_gone_from_the_storage_fails_only_its_own_variants(studio):
    videos = studio.upload("beach", "quiet")
    _stored(studio, videos[1]).unlink()
    batch, results = studio.make(videos=videos, hooks=studio.hooks("One"), mix="every")
    assert (batch["done"], batch["failed"]) == (1, 1)
    assert next(each for each in results if each["status"] == "failed")["error"].endswith("Upload that file again.")


def _spoil(studio: Studio, asset_id: int) -> None:
    """Damage the stored file behind NOVAI's back."""
    path = _stored(studio, asset_id)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:2000])


def _stored(studio: Studio, asset_id: int) -> Path:
    from novai_web.library.models import Asset

    settings = studio.client.application.extensions["novai_settings"]
    path = open_store(settings).local_path(session.get_one(Asset, asset_id).store_key)
    assert path is not None
    return path


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"videos": []}, "videos"),
        ({}, "videos"),
        ({"videos": [999_999]}, "videos"),
        ({"videos": "all"}, "videos"),
        ({"hooks": [1.5]}, "hooks"),
        ({"hooks": list(range(10_000))}, "hooks"),
        ({"hook_color": "red; drop"}, "hook_color"),
        ({"hook_start_seconds": float("1e9")}, "hook_start_seconds"),
        ({"hook_position": "everywhere"}, "hook_position"),
        ({"method": "magic"}, "method"),
        ({"name_template": "{nonsense}"}, "name_template"),
        ({"limit": 0}, "limit"),
        ({"without": ["1"]}, "without"),
        ({"credits": 0}, "credits"),
    ],
)
def test_wrong_input_names_the_field_and_starts_nothing(studio, given, field):
    answer = studio.start(**({"videos": studio.upload("quiet")} | given if given and "videos" not in given else given))
    assert answer.status_code == 422, answer.text
    assert field in [error["field"] for error in answer.json["errors"]]
    assert studio.get("/api/v1/batches")["items"] == []


def test_more_variants_than_fit_in_a_batch_are_refused_with_the_number(studio, make_app):
    videos, hooks = studio.upload("quiet"), studio.hooks("One", "Two", "Three")
    studio.client = make_app(variants_max=2).test_client()
    answer = studio.start(videos=videos, hooks=hooks, mix="every")
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "limit" and "3" in answer.text


def test_a_video_deleted_between_quote_and_submit_is_named(studio):
    videos = studio.upload("quiet")
    assert (
        studio.client.post("/api/v1/tools/variants/quote", json={"videos": videos}, headers=studio.who).status_code
        == 200
    )
    assert studio.client.delete(f"/api/v1/videos/{videos[0]}", headers=studio.who).status_code in (200, 204)
    answer = studio.start(videos=videos)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "videos"
    assert "not in your library" in answer.json["errors"][0]["message"]


def test_a_video_deleted_between_submit_and_run_fails_its_job_in_plain_words(studio):
    videos = studio.upload("quiet")
    made = studio.start(videos=videos).json
    studio.client.delete(f"/api/v1/videos/{videos[0]}", headers=studio.who)
    studio.work()
    job = studio.get(made["jobs"][0]["status_url"])
    assert job["status"] == "failed" and "not in your library" in job["error"]


def test_bobs_video_is_not_there_for_alice(studio, bob, bearer):
    mine = studio.upload("quiet")
    studio.who = bearer(bob)
    answer = studio.start(videos=mine)
    assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "videos"


@pytest.mark.parametrize(("frame", "wide", "high"), [("source", 9, 16), ("1:1", 1, 1), ("16:9", 16, 9)])
def test_the_live_frame_has_the_shape_that_was_chosen(studio, alice, sign_in, frame, wide, high):
    [video], [hook] = studio.upload("beach"), studio.hooks("Look")
    sign_in(studio.client, alice)
    address = "/tools/variants/frame"
    answer = studio.client.get(address, query_string={"video": video, "hook": hook, "frame": frame})
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.data)) as picture:
        assert picture.width / picture.height == pytest.approx(wide / high, abs=0.02)


def test_a_hook_that_would_appear_after_its_clip_has_ended_is_refused_by_the_quote_already(studio):
    given = {"videos": studio.upload("quiet"), "hooks": studio.hooks("Late"), "hook_start_seconds": 99}
    for action in ("quote", "jobs"):
        answer = studio.client.post(f"/api/v1/tools/variants/{action}", json=given, headers=studio.who)
        assert answer.status_code == 422 and answer.json["errors"][0]["field"] == "hook_start_seconds"
        assert "quiet" in answer.json["errors"][0]["message"]


def test_the_table_of_variants_says_the_names_that_the_zip_will_have(studio, client, alice, sign_in):
    videos, hooks = studio.upload("quiet"), studio.hooks("One", "Two", "Three")
    sign_in(client, alice)
    form = {"videos": videos, "hooks": hooks, "mix": "every", "name_template": "{n} {hook}", "frame": "source"}
    out = f"{videos[0]}-0-{hooks[0]}"
    page = client.post("/tools/variants/cells", data=form | {"without": out}).text
    _, results = studio.make(**(form | {"without": [out]}))
    assert [each["name"] for each in results] == ["1 Two.mp4", "2 Three.mp4"]
    assert all(each["name"] in page for each in results)


@pytest.mark.parametrize("fill", ["crop", "blur"])
def test_the_contact_sheet_shows_what_becomes_of_another_shape(studio, client, alice, sign_in, fill):
    videos, hooks = studio.upload("quiet"), studio.hooks("One")
    sign_in(client, alice)
    form = {"videos": videos, "hooks": hooks, "frame": "16:9", "frame_fill": fill}
    answer = client.post("/tools/variants/sheet", data=form)
    assert answer.status_code == 200 and "data:image/webp;base64," in answer.text
