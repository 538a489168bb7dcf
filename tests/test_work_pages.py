"""The pages of work as they come from the server: what a form opens with, approving a batch, and how text travels."""

import gzip
import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from novai_web import jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits import invariants
from novai_web.db import session, transaction
from novai_web.engines.store import open_store
from novai_web.jobs import Batch, batches, finding
from novai_web.library import hooks, presets
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Preset
from novai_web.pages.assets import manifest
from novai_web.pages.static_files import STATIC
from novai_web.tools import echo, variants
from tests.things import put

BUILT = manifest(STATIC)
HX = {"HX-Request": "true"}


@pytest.fixture
def page(client: FlaskClient, alice: Account, sign_in: Any) -> Iterator[FlaskClient]:
    sign_in(client, alice)
    yield client
    session.rollback()
    assert invariants.broken() == {}


@pytest.fixture
def batch(alice: Account, settings: Settings) -> Batch:
    """Four outputs, all delivered."""
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 4}, settings).batch
    assert made is not None
    while jobs.run_slice("io", open_store(settings), settings):
        pass
    return made


def picked(text: str, field: str) -> list[str]:
    return re.findall(rf'name="{field}" value="(\d+)"', text)


def outputs(batch: Batch) -> list[Asset]:
    session.rollback()
    return list(session.scalars(batches.assets(batch).order_by(Asset.id)))


def test_an_address_picks_what_fits_and_nothing_of_another_kind(page, alice, settings):
    video, audio = put(alice, settings, kind="video"), put(alice, settings, kind="audio")
    shown = page.get(f"/tools/variants?videos={audio.id}&videos={video.id}&audios={video.id}").text
    assert picked(shown, "videos") == [str(video.id)]
    assert picked(shown, "audios") == []


@pytest.fixture
def asked(alice: Account, settings: Settings) -> Batch:
    """A batch of variants of two clips with one hook, that nobody works on."""
    clips = [put(alice, settings, name=name, duration_seconds=4.0, width=180, height=320) for name in ("A", "B")]
    with transaction():
        hook = hooks.add(Library(alice.id), ["Wait for it"], "").hooks[0]
    given = {"videos": [clip.id for clip in clips], "hooks": [hook.id], "hook_size": 9, "mix": "every"}
    with transaction():
        made = jobs.submit(alice, variants.tool, given, settings).batch
    assert made is not None
    return made


def test_a_batch_is_asked_for_again_as_it_was_or_with_other_clips(page, asked):
    same = page.get(f"/tools/variants?batch={asked.id}").text
    assert len(picked(same, "videos")) == 2
    assert 'name="hook_size"' in same
    other = page.get(f"/tools/variants?batch={asked.id}&but=videos").text
    assert picked(other, "videos") == []
    assert len(picked(other, "hooks")) == 1
    assert re.search(r'data-picks="videos"[^>]* data-pick-now', other)
    assert "data-pick-now" not in same


def test_the_form_of_a_job_opens_again_as_it_was_and_for_nobody_else(page, app, bob, asked, sign_in):
    job = finding.of_batch(asked.id)[0]
    assert len(picked(page.get(f"/tools/variants?job={job.id}").text, "hooks")) == 1
    stranger = app.test_client()
    sign_in(stranger, bob)
    assert stranger.get(f"/tools/variants?job={job.id}").status_code == 404


def test_somebody_without_clips_is_told_where_they_come_from(page, alice, settings):
    assert "You have no videos yet" in page.get("/tools/variants").text
    put(alice, settings, kind="video")
    assert "You have no videos yet" not in page.get("/tools/variants").text


def test_the_settings_of_last_time_are_one_click_away_and_pick_nothing(page, asked):
    offered = re.search(r"data-preset='([^']*)'[^>]*>.*As last time", page.get("/tools/variants").text)[1]
    assert '"hook_size": 9' in offered
    assert '"mix": "every"' in offered
    assert '"videos"' not in offered and '"without"' not in offered


def test_before_the_first_job_there_is_no_last_time(page):
    assert "As last time" not in page.get("/tools/variants").text


def test_a_deleted_preset_comes_back_and_only_for_its_owner(page, app, alice, bob, sign_in):
    with transaction():
        preset = presets.save(Library(alice.id), "variants", "Bold", {"hook_size": 12})
    gone = page.post(f"/presets/{preset.id}/delete", headers=HX)
    assert "Bold" not in gone.text
    undo = gone.headers["Novai-Undo"]
    stranger = app.test_client()
    sign_in(stranger, bob)
    assert stranger.post(undo, headers=HX).status_code == 404
    for _ in range(2):
        assert "Bold" in page.post(undo, headers=HX).text
    session.rollback()
    assert [each.values for each in session.scalars(select(Preset))] == [{"hook_size": 12}]


def test_one_output_is_kept_and_another_thrown_away_and_both_can_be_taken_back(page, batch):
    kept = page.post(f"/batches/{batch.id}/keep", data={"only": "1"}, headers=HX)
    assert kept.status_code == 200 and "moved to your library for good" in kept.text
    assert [asset.expires_at is None for asset in outputs(batch)] == [False, True, False, False]
    gone = page.post(f"/batches/{batch.id}/trash", data={"n": ["0", "2"]}, headers=HX)
    assert gone.text.count("Thrown away") == 2 and "2 thrown away" in gone.text
    assert [asset.trashed_at is None for asset in outputs(batch)] == [False, True, False, True]
    for answer in (gone, kept):
        undo = re.search(r'action="(/undo/\d+)"', answer.text)[1]
        assert f'name="back" value="/batches/{batch.id}"' in answer.text
        assert page.post(undo).status_code == 303
    assert all(asset.trashed_at is None and asset.expires_at is not None for asset in outputs(batch))


def test_what_was_thrown_away_is_neither_kept_with_the_rest_nor_counted_as_kept(page, batch):
    page.post(f"/batches/{batch.id}/trash", data={"only": "3"})
    page.post(f"/batches/{batch.id}/keep")
    kept, gone = outputs(batch)[:3], outputs(batch)[3]
    assert all(asset.expires_at is None for asset in kept)
    assert gone.trashed_at is not None and gone.expires_at is not None
    shown = page.get(f"/batches/{batch.id}").text
    assert "Kept in your library" in shown and "1 thrown away" in shown
    back = page.post(f"/batches/{batch.id}/restoration", data={"only": "3"}, headers=HX)
    assert "Thrown away" not in back.text and "Expires" in back.text


def test_keeping_one_does_not_say_that_all_are_kept(page, batch):
    page.post(f"/batches/{batch.id}/keep", data={"only": "0"})
    shown = page.get(f"/batches/{batch.id}").text
    assert "Kept in your library" not in shown and "Keep all" in shown


def test_throwing_away_nothing_says_what_to_do(page, batch):
    refused = page.post(f"/batches/{batch.id}/trash")
    assert refused.status_code == 422
    assert "Tick something first" in refused.text


@pytest.mark.parametrize("verb", ["keep", "trash", "restoration"])
def test_a_stranger_approves_nothing(app, bob, batch, sign_in, verb):
    stranger = app.test_client()
    sign_in(stranger, bob)
    assert stranger.post(f"/batches/{batch.id}/{verb}", data={"only": "0"}).status_code == 404
    assert all(asset.trashed_at is None and asset.expires_at is not None for asset in outputs(batch))


def test_what_is_not_there_yet_has_the_shape_of_what_the_tool_makes(page, alice, settings):
    with transaction():
        made = jobs.submit(alice, echo.tool, {"copies": 2}, settings).batch
    kind = echo.tool.makes[0]
    assert page.get(f"/batches/{made.id}").text.count(f'<span class="frame" data-kind="{kind}">') == 2


@pytest.mark.parametrize("url", ["/tools/variants", f"/static/dist/{BUILT['app.css']}", "/api/v1/openapi.json"])
def test_text_travels_compressed_to_whoever_can_read_that(page, url):
    plain = page.get(url)
    packed = page.get(url, headers={"Accept-Encoding": "gzip, deflate"})
    assert "Content-Encoding" not in plain.headers
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) / 2
    assert gzip.decompress(packed.data)[:15] == plain.data[:15]
    assert "Content-Encoding" not in page.head(url, headers={"Accept-Encoding": "gzip"}).headers


def test_the_length_of_a_compressed_page_tells_nothing(page):
    url = "/api/v1/openapi.json"
    lengths = {len(page.get(url, headers={"Accept-Encoding": "gzip"}).data) for _ in range(12)}
    assert len(lengths) > 3


def test_media_and_what_is_streamed_travel_as_they_are(page, alice, settings, batch):
    asset = put(alice, settings, b"x" * 5000)
    for url in (f"/media/{asset.id}/original", f"/batches/{batch.id}/zip"):
        assert "Content-Encoding" not in page.get(url, headers={"Accept-Encoding": "gzip"}).headers
