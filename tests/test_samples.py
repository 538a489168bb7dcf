"""Sample media: drawn once by the installation, added to a library with one click, and to nobody else's."""

import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest
from flask.testing import FlaskClient
from pydantic import SecretStr
from sqlalchemy import func, select

from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.credits.models import Entry
from novai_web.db import session, transaction
from novai_web.engines import ffmpeg
from novai_web.engines.ffmpeg.deciding import make_plan
from novai_web.engines.ffmpeg.samples import SAMPLES
from novai_web.engines.store import Store, open_store
from novai_web.engines.store.local import LocalStore
from novai_web.jobs import Job, cleaning
from novai_web.library import collections, hooks, samples, trash
from novai_web.library.assets import Library
from novai_web.library.models import Asset, Hook
from novai_web.operations import fsck
from novai_web.sandbox import started
from novai_web.sandbox.supabase_storage import project_key
from tests.commands import flask, named

pytestmark = pytest.mark.timeout(600)

CLIPS = [each for each in SAMPLES if each.kind == "video"]


@pytest.fixture(scope="module")
def drawn(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an installation whose samples are small, because their size is not what most of this is about."""
    folder = tmp_path_factory.mktemp("drawn")
    heard: list[float] = []
    assert samples.make(LocalStore(folder), settings, heard.append, width=180, seconds=3.2)
    assert heard == sorted(heard) and heard[-1] > 0.5
    return folder


@pytest.fixture
def made(app: object, settings: Settings, drawn: Path) -> Store:
    """An installation that has made its samples."""
    store = open_store(settings)
    shutil.copytree(drawn / samples.FOLDER, settings.files_folder / samples.FOLDER)
    return store


@pytest.fixture
def visit(client: FlaskClient, alice: Account, sign_in: Callable[[FlaskClient, Account], None]) -> FlaskClient:
    sign_in(client, alice)
    return client


def add(client: FlaskClient, back: str = "/videos") -> str:
    """Press the button; the page that it leads to."""
    answer = client.post("/samples", data={"back": back})
    assert (answer.status_code, answer.location) == (303, back)
    return client.get(back).text


def of(account: Account) -> list[Asset]:
    session.rollback()
    return list(session.scalars(Library(account.id).assets().order_by(Asset.id)))


def hooks_of(account: Account) -> list[str]:
    return list(session.scalars(Library(account.id).hooks().with_only_columns(Hook.text).order_by(Hook.id)))


def test_one_click_adds_clips_music_hooks_and_a_portrait_that_are_ready_at_once(visit, made, alice):
    before = session.scalar(select(func.count()).select_from(Entry))
    page = add(visit)
    assert "4 clips, 2 pieces of music, 1 picture and 10 hooks are in your library now." in page
    found = of(alice)
    assert [asset.kind for asset in found].count("video") == 4 and len(found) == 7
    assert all(asset.is_ready and "sample" in asset.tags for asset in found)
    assert all(asset.has("poster" if asset.width else "waveform") for asset in found)
    assert [asset.tags for asset in found if asset.kind == "image"] == [["sample", "synthetic"]]
    assert all(each.title in page for each in CLIPS)
    assert hooks_of(alice) == list(samples.HOOKS)
    shelves = collections.listed(Library(alice.id))
    assert [(shelf.kind, shelf.name) for shelf in shelves] == [
        (kind, "Samples") for kind in ("audio", "image", "video")
    ]
    assert {asset.collection_id for asset in found} == {shelf.id for shelf in shelves}
    for asset in found:
        assert visit.get(f"/media/{asset.id}/original").status_code == 200
    # It costs nothing, and there is nothing left to be done.
    assert session.scalar(select(func.count()).select_from(Entry)) == before
    assert session.scalar(select(func.count()).select_from(Job)) == 0


def test_a_second_click_adds_nothing_twice_and_says_so(visit, made, alice):
    add(visit)
    assert "You have all sample media already." in add(visit)
    assert len(of(alice)) == 7 and len(hooks_of(alice)) == 10
    assert len(collections.listed(Library(alice.id))) == 3


def test_what_was_thrown_away_comes_back_and_what_was_renamed_stays_as_it_is(visit, made, alice):
    add(visit)
    library = Library(alice.id)
    with transaction():
        renamed, *gone = session.scalars(library.assets().where(Asset.kind == "video").order_by(Asset.id)).all()
        renamed.name = "Mine now"
        trash.throw_away(library, library.assets().where(Asset.id.in_([asset.id for asset in gone])))
        trash.throw_away_hooks(library, hooks.Filter(q="scrolling").of(library))
    assert "3 clips and 1 hook are in your library now." in add(visit)
    assert len(of(alice)) == 7 and "Mine now" in {asset.name for asset in of(alice)}
    assert session.scalar(select(func.count()).select_from(trash.trashed_hooks(library).subquery())) == 0


def test_undo_takes_exactly_that_away_again(visit, made, alice):
    with transaction():
        hooks.add(Library(alice.id), ["My own"], "Mine")
    page = add(visit)
    undo = page.split('data-tone="done" data-toast')[1].split('action="')[1].split('"')[0]
    visit.post(undo, data={"back": "/videos"})
    assert of(alice) == [] and hooks_of(alice) == ["My own"]
    assert not collections.listed(Library(alice.id)), "not even empty collections are left"
    assert "4 clips" in add(visit)
    assert len(of(alice)) == 7 and all(asset.collection_id for asset in of(alice))


def test_everybody_has_files_of_their_own(visit, made, alice, bob, sign_in, settings):
    add(visit)
    alices = {asset.id for asset in of(alice)}
    sign_in(visit, bob)
    assert "4 clips" in add(visit)
    assert not alices & {asset.id for asset in of(bob)}
    with transaction():
        trash.throw_away(Library(alice.id), Library(alice.id).assets())
        trash.empty(Library(alice.id))
    cleaning.clean_library(made, settings)
    assert all(visit.get(f"/media/{asset.id}/original").status_code == 200 for asset in of(bob))
    assert visit.get(f"/media/{min(alices)}/original").status_code == 404
    assert samples.made(made) is not None


def test_no_row_speaks_of_the_files_of_the_installation_and_fsck_knows_that(visit, made):
    add(visit)
    assert fsck.look(made, deep=True).findings == []


@pytest.mark.parametrize("page", ["/", "/videos", "/audios", "/images", "/hooks", "/collections"])
def test_every_empty_page_of_the_library_offers_it(visit, page):
    shown = visit.get(page).text
    assert 'action="/samples"' in shown and "Add sample media" in shown


def test_the_dashboard_leads_to_the_builder_with_everything_picked(visit, made, alice):
    page = add(visit, "/")
    assert "Everything is ready" in page
    link = page.split('data-size="lg" href="')[1].split('"')[0].replace("&amp;", "&")
    builder = visit.get(link).text
    assert builder.count('name="videos"') == 4 and builder.count('name="audios"') == 2
    assert builder.count('name="hooks"') == 10


def test_without_the_files_one_waits_on_a_page_while_a_worker_draws_them(visit, alice):
    for _ in range(2):
        answer = visit.post("/samples", data={"back": "/hooks"})
        assert (answer.status_code, answer.location) == (303, "/samples?back=/hooks")
    page = visit.get(answer.location).text
    assert "Being drawn for the first time" in page and 'value="/hooks"' in page
    assert session.scalars(select(Job.tool_slug)).all() == ["sampling"], "asked for once"
    assert of(alice) == []
    assert visit.get("/jobs").text.count("article") == 0, "NOVAI's own work has no card"


def test_whoever_asked_first_gets_them_when_a_worker_is_done(visit, alice, work, settings, drawn):
    visit.post("/samples", data={"back": "/"})
    shutil.copytree(drawn / samples.FOLDER, settings.files_folder / samples.FOLDER)
    work()
    job = session.scalars(select(Job)).one()
    session.refresh(job)
    assert (job.state, job.charged) == ("succeeded", 0), job.error
    assert "4 clips" in add(visit, "/")


def test_a_wrong_way_back_leads_to_the_dashboard(visit, made):
    assert visit.post("/samples", data={"back": "//evil.example"}).location == "/"


def test_when_the_files_are_there_the_waiting_page_goes_on_by_itself(visit, alice, made):
    with transaction():
        session.add(Job(account_id=alice.id, tool_slug="sampling", title="x", queue="cpu", input={}, notes={},
                        price=0, promised=0, state="succeeded", progress=1, deadline_seconds=9))  # fmt: skip
    assert 'hx-trigger="load, submit"' in visit.get("/samples/state?back=/hooks").text
    answer = visit.post("/samples", data={"back": "/hooks"}, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/hooks")


def test_the_api_says_what_was_added_and_what_was_there(client, made, as_alice, as_bob):
    assert client.get("/api/v1/samples", headers=as_alice).json == {"state": "made"}
    first = client.post("/api/v1/samples", headers=as_alice)
    assert (first.status_code, first.json["added"], first.json["existing"]) == (201, 17, 0)
    assert {asset["kind"] for asset in first.json["assets"]} == {"video", "audio", "image"}
    assert all(asset["status"] == "ready" and asset["thumbnail_url"] for asset in first.json["assets"])
    second = client.post("/api/v1/samples", headers=as_alice).json
    assert (second["added"], second["existing"]) == (0, 17)
    assert [asset["id"] for asset in second["assets"]] == [asset["id"] for asset in first.json["assets"]]
    assert client.get("/api/v1/videos", headers=as_bob).json["total"] == 0
    assert client.post("/api/v1/samples").status_code == 401


def test_the_api_says_when_to_come_again_while_they_are_being_made(client, as_alice):
    assert client.get("/api/v1/samples", headers=as_alice).json == {"state": "not_made"}
    answer = client.post("/api/v1/samples", headers=as_alice)
    assert (answer.status_code, answer.json["state"], answer.json["retry_after_seconds"]) == (202, "making", 5)


def test_a_disk_without_room_refuses_in_words_and_keeps_nothing(make_app, made, settings, alice, sign_in):
    client = make_app(account_bytes_max=100_000).test_client()
    sign_in(client, alice)
    answer = client.post("/samples", data={"back": "/"})
    assert answer.status_code == 507 and "does not fit into your" in answer.text
    assert sum(asset.size_bytes for asset in of(alice)) <= 100_000


def test_one_process_draws_and_the_others_of_the_machine_leave_it_to_that_one(drawn, settings, tmp_path):
    store, told = LocalStore(tmp_path), []

    def meanwhile(done: float) -> None:
        if not told:
            told.append(samples.make(store, settings, lambda done: None))
            raise InterruptedError

    with pytest.raises(InterruptedError):
        samples.make(store, settings, meanwhile, width=32, seconds=0.2)
    assert told == [False] and samples.made(store) is None
    assert not (settings.scratch_folder / samples.FOLDER).exists(), "nothing of it is left"


def test_the_command_has_nothing_to_do_when_they_are_made(made, settings):
    said = flask("samples", "--gently", **named(settings))
    assert (said.returncode, said.stdout) == (0, ""), said.stderr


@pytest.fixture(scope="module")
def supabase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with started("supabase_storage", "--data", tmp_path_factory.mktemp("supabase")) as url:
        yield url


def test_they_come_from_a_store_elsewhere_as_well(make_app, settings, supabase, drawn, alice, sign_in):
    there = {"supabase_url": supabase, "supabase_key": SecretStr(project_key()), "supabase_bucket": "samples"}
    app, its = make_app(**there), settings.model_copy(update=there)
    store, files = open_store(its), LocalStore(drawn)
    for key, _ in files.list(""):
        store.put(key, files.local_path(key), "application/octet-stream")
    client = app.test_client()
    sign_in(client, alice)
    assert client.post("/samples", data={"back": "/"}).status_code == 303
    assert all(asset.is_ready for asset in of(alice)) and len(of(alice)) == 7
    assert {key.split("/")[0] for key, _ in store.list("")} == {"assets", "samples"}


# --- What they are -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def files(drawn: Path) -> dict[str, Path]:
    kept = samples.made(LocalStore(drawn)) or ()
    return {each.name: drawn / each.key for each in kept}


def test_the_clips_are_upright_h264_with_b_frames_and_a_keyframe_every_two_seconds(files):
    for clip in CLIPS:
        with av.open(str(files[clip.name])) as film:
            stream = film.streams.video[0]
            assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 180, 320)
            assert stream.average_rate == 30 and film.streams.audio[0].codec_context.name == "aac"
            packets = [packet for packet in film.demux(stream) if packet.pts is not None]
        keys = [float(packet.pts * packet.time_base) for packet in packets if packet.is_keyframe]
        assert len(keys) > 1 and all(after - before <= 2 for before, after in pairwise(keys))
        assert any(packet.pts != packet.dts for packet in packets), "frames are out of order, as B-frames are"


def test_only_what_lies_under_a_hook_is_encoded_of_them(files):
    films = [files[clip.name] for clip in CLIPS]
    known = dict(zip(films, ffmpeg.probe_all(films, ffmpeg.Limits()), strict=True))
    batch = [ffmpeg.Variant(n, path, None, "Hi", f"{n}") for n, path in enumerate(films)]
    plan = make_plan(batch, ffmpeg.RenderSettings(hook_duration_seconds=1), known, None)
    assert {picture.way for clip in plan.clips for picture in clip.pictures} == {"exact"}
    assert all(clip.cut and clip.cut.copied > 0 for clip in plan.clips)


def test_the_music_is_as_loud_as_music_in_stereo_and_goes_round_without_a_gap(files):
    for name in ("slow-tide", "bright-steps"):
        with av.open(str(files[name])) as sound:
            samples_of = [frame.to_ndarray() for frame in sound.decode(audio=0)]
        loud = max(float(abs(piece).max()) for piece in samples_of)
        count = sum(piece.shape[1] for piece in samples_of)
        assert samples_of[0].shape[0] == 2 and 10 <= count / 48_000 <= 20
        assert 0.5 < loud <= 1.0
        assert float(abs(samples_of[-2]).max()) > 0.01, "what rings on is heard at the end as at the beginning"


def test_what_newcomers_get_is_as_large_as_what_people_upload():
    from novai_web.engines.ffmpeg import samples as drawing

    assert (drawing.WIDTH, drawing.SECONDS) == (720, 7.0)
    assert len(samples.HOOKS) == len(set(samples.HOOKS)) == 10
