"""Content Credentials of what tools make: in the file, in the ZIP, on the page, over the API, through a second tool."""

import io
import json
import re
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import c2pa
import pytest

from novai_web import jobs
from novai_web.config import Settings
from novai_web.db import session, transaction
from novai_web.engines import credentials
from novai_web.engines.credentials import Statement
from novai_web.engines.store import open_store
from novai_web.jobs import leases
from novai_web.jobs.bench import Bench
from novai_web.library.models import Asset
from novai_web.tools import echo
from novai_web.tools.tool import Made
from tests import commands, media
from tests.test_variants import Studio, clips, studio

__all__ = ["clips", "studio"]  # fixtures


def said_by(content: bytes, mime: str = "video/mp4") -> dict[str, Any]:
    """What the library's own reader finds in a file, without any of our settings."""
    with c2pa.Reader(mime, io.BytesIO(content)) as reader:
        store: dict[str, Any] = json.loads(reader.json())
    return store


def active(store: dict[str, Any]) -> dict[str, Any]:
    manifest: dict[str, Any] = store["manifests"][store["active_manifest"]]
    return manifest


def detail(studio: Studio, result: dict[str, Any]) -> dict[str, Any]:
    return studio.get(f"/api/v1/videos/{result['asset_id']}")


def test_every_file_of_a_zip_says_what_it_was_edited_from_and_holds(studio):
    videos, audios, hooks = studio.upload("beach", "phone"), studio.upload("song"), studio.hooks("Look at this")
    batch, results = studio.make(videos=videos, audios=audios, hooks=hooks, mix="every")
    archive = zipfile.ZipFile(io.BytesIO(studio.client.get(batch["zip_url"], headers=studio.who).data))
    names = [name for name in archive.namelist() if name.endswith(".mp4")]
    assert len(names) == 2
    for name in names:
        store = said_by(archive.read(name))
        manifest = active(store)
        assert store["validation_state"] == "Valid"
        (actions,) = [each["data"]["actions"] for each in manifest["assertions"] if "actions" in each["label"]]
        assert [each["action"] for each in actions] == ["c2pa.opened", "c2pa.edited", "c2pa.placed"]
        assert actions[1]["digitalSourceType"].endswith("/humanEdits")
        titles = {each["title"]: each["relationship"] for each in manifest["ingredients"]}
        assert sorted(titles.values()) == ["componentOf", "parentOf"] and "song" in titles
        (ours,) = [each["data"] for each in manifest["assertions"] if each["label"] == "app.novai.generation"]
        assert ours["texts"] == ["Look at this"] and all(each["sha256"] for each in ours["inputs"])
    hashes = {sha256(archive.read(name)).hexdigest() for name in names}
    assert hashes == {detail(studio, each)["sha256"] for each in results}


def test_the_download_is_the_signed_file_and_the_api_says_so(studio, settings):
    _, results = studio.make(videos=studio.upload("quiet"), hooks=studio.hooks("Hello"))
    shown = detail(studio, results[0])
    assert shown["credentials"]["state"] == "signed" and shown["credentials"]["origin"] == "edited"
    assert shown["credentials"]["signer"] == credentials.chain(settings).signer
    content = studio.client.get(shown["url"] + "?download=1", headers=studio.who).data
    assert said_by(content)["validation_state"] == "Valid"
    assert (len(content), sha256(content).hexdigest()) == (shown["size_bytes"], shown["sha256"])


def test_what_was_uploaded_has_no_such_section(studio):
    asset = studio.get(f"/api/v1/videos/{studio.upload('quiet')[0]}")
    assert asset["credentials"] is None


def test_the_page_says_what_the_file_says(studio, client, alice, sign_in, settings):
    _, results = studio.make(videos=studio.upload("quiet"), hooks=studio.hooks("Hello"))
    sign_in(client, alice)
    page = client.get(f"/assets/{results[0]['asset_id']}").text
    section = re.search(r'id="credentials".*?</section>', page, re.S)[0]
    assert "Only edited" in section and credentials.chain(settings).signer in section and "quiet" in section
    source = client.get(f"/assets/{results[0]['video_id']}").text
    assert 'id="credentials"' not in source


def test_what_an_uploaded_clip_says_of_itself_is_carried_into_its_variants(studio, settings, tmp_path):
    """As a clip that another program's AI made."""
    clip = media.video(tmp_path / "generated.mp4")
    signed = credentials.sign(clip, Statement("generated", "video/mp4", "made", "Elsewhere", agent="An AI"), settings)
    studio.clips = {**studio.clips, "generated": signed}
    _, results = studio.make(videos=studio.upload("generated"), hooks=studio.hooks("One", "Two"), mix="every")
    for each in results:
        store = said_by(studio.client.get(each["url"], headers=studio.who).data)
        assert store["validation_state"] == "Valid" and len(store["manifests"]) == 2
        assert "trainedAlgorithmicMedia" in json.dumps(store)
        assert detail(studio, each)["credentials"]["kept"] == 1


def test_a_variant_of_a_variant_carries_the_whole_story(studio):
    _, first = studio.make(videos=studio.upload("quiet"), hooks=studio.hooks("One"))
    _, second = studio.make(videos=[first[0]["asset_id"]], hooks=studio.hooks("Two"))
    store = said_by(studio.client.get(second[0]["url"], headers=studio.who).data)
    assert store["validation_state"] == "Valid" and len(store["manifests"]) == 2


@pytest.mark.parametrize("harm", ["garbage", "cut"])
def test_a_clip_whose_own_credentials_are_damaged_is_used_all_the_same(studio, settings, tmp_path, harm):
    signed = credentials.sign(
        media.video(tmp_path / "clip.mp4"), Statement("clip", "video/mp4", "made", "Elsewhere"), settings
    )
    content = bytearray(signed.read_bytes())
    at = content.find(b"jumb")
    content[at + 8 : at + 200] = (b"\xff" if harm == "garbage" else b"\0") * 192
    signed.write_bytes(content)
    studio.clips = {**studio.clips, "damaged": signed}
    batch, results = studio.make(videos=studio.upload("damaged"), hooks=studio.hooks("One"))
    assert batch["status"] == "succeeded", results
    assert said_by(studio.client.get(results[0]["url"], headers=studio.who).data)["validation_state"] == "Valid"


# --- Through a bench -----------------------------------------------------------------------------------------------


def kept(alice: Any, settings: Settings, path: Path, **given: Any) -> Asset:
    """What becomes of a file that a step hands over to be kept."""
    store = open_store(settings)
    with transaction():
        jobs.submit(alice, echo.tool, {"copies": 1}, settings)
    with transaction():
        lease = leases.claim("io", settings)
        assert lease is not None
        bench = Bench(session.get_one(jobs.Job, lease.job_id), lease, store, settings)
    made = Made(
        **{
            "kind": "image",
            "type": "generated",
            "origin": "made",
            "name": "A picture",
            "mime": "image/png",
            "sha256": sha256(path.read_bytes()).hexdigest(),
            "media": {"extension": path.suffix},
            "recipe": {"vendor": {"name": "fal", "model": "fal-ai/wan", "run": "r1", "sandbox": True}},
            **given,
        }
    )
    with bench:
        return bench.keep(path.rename(bench.folder / path.name), made, n=bench.promises[0].n)


def test_a_picture_from_the_sandbox_says_which_model_it_stands_in_for(app, alice, settings, tmp_path):
    asset = kept(alice, settings, media.image(tmp_path / "a.png"))
    content = b"".join(open_store(settings).read(asset.store_key))
    manifest = active(said_by(content, "image/png"))
    (actions,) = [each["data"]["actions"] for each in manifest["assertions"] if "actions" in each["label"]]
    assert actions[0]["softwareAgent"]["name"] == "fal: fal-ai/wan" and "sandbox" in actions[0]["description"]
    assert asset.sha256 == sha256(content).hexdigest() and asset.size_bytes == len(content)


def test_what_a_vendor_signed_stays_in_the_file(app, alice, settings, tmp_path):
    theirs = Statement("theirs", "image/png", "made", "Vendor", agent="Their model")
    signed = credentials.sign(media.image(tmp_path / "a.png"), theirs, settings)
    asset = kept(alice, settings, signed)
    store = said_by(b"".join(open_store(settings).read(asset.store_key)), "image/png")
    assert store["validation_state"] == "Valid" and len(store["manifests"]) == 2
    assert "Their model" in json.dumps(store)


def test_credentials_of_a_file_without_a_place_for_them_lie_beside_it(
    app, client, alice, bob, sign_in, settings, tmp_path
):
    webm = media.vp9(tmp_path / "a.webm", frames=5)
    asset = kept(alice, settings, webm, kind="video", mime="video/webm")
    sign_in(client, alice)
    assert "WEBM files have no place for Content Credentials" in client.get(f"/assets/{asset.id}").text
    alone = client.get(f"/media/{asset.id}/credentials")
    assert 'filename="A picture.webm.c2pa"' in alone.headers["Content-Disposition"]
    archive = zipfile.ZipFile(io.BytesIO(client.post("/library/zip", data={"kind": "video", "ids": [asset.id]}).data))
    assert sorted(archive.namelist()) == ["A picture.webm", "A picture.webm.c2pa"]
    archive.extractall(tmp_path)
    beside = tmp_path / "A picture.webm.c2pa"
    assert beside.read_bytes() == alone.data
    report = credentials.read(tmp_path / "A picture.webm", settings, beside)
    assert (report.state, report.origin) == ("trusted", "made")
    (tmp_path / "A picture.webm").write_bytes(webm.read_bytes() if webm.exists() else b"another film")
    assert credentials.read(tmp_path / "A picture.webm", settings, beside).state == "invalid"
    sign_in(client, bob)
    assert client.get(f"/media/{asset.id}/credentials").status_code == 404


def test_a_chain_that_cannot_be_used_costs_nobody_what_was_made(app, client, alice, sign_in, settings, tmp_path):
    broken = settings.model_copy(update={"credentials_chain": "/nowhere.pem", "credentials_key": "/nowhere.key"})
    asset = kept(alice, broken, media.image(tmp_path / "a.png"))
    assert asset.media["credentials"]["state"] == "failed" and asset.size_bytes
    sign_in(client, alice)
    page = client.get(f"/assets/{asset.id}").text
    assert "delivered without Content Credentials" in page and "/nowhere.pem" in page


# --- On the command line -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_variants_of_the_command_line_are_signed_too(tmp_path):
    (tmp_path / "videos").mkdir()
    media.video(tmp_path / "videos" / "clip.mp4")
    (tmp_path / "hooks.txt").write_text("A hook\n")
    here = {"NOVAI_DATA": str(tmp_path / "data")}
    made = commands.flask(
        "variants",
        "--videos",
        tmp_path / "videos",
        "--hooks",
        tmp_path / "hooks.txt",
        "--out",
        tmp_path / "out",
        **here,
    )
    assert made.returncode == 0, made.stderr
    (path,) = (tmp_path / "out").glob("*.mp4")
    told = commands.flask("credentials", "verify", path, **here)
    assert told.returncode == 0 and "trusted" in told.stdout and "clip.mp4" in told.stdout
