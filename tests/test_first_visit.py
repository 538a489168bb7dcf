"""What a stranger does with NOVAI: one command, the administrator, a few files, one button, a ZIP."""

import csv
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from tests import media
from tests.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HOOKS = [
    "Wait for it…",
    "POV: you found it 😱",
    "نصيحة اليوم ✨",
    "今日はこれを試してみて",
    "100% worth it: no 'filters', [really]; \\n",
    "Nobody talks about this, and it is the one thing that makes the difference",
    "שלום עולם",
    "Day 1 🇫🇷👨‍👩‍👧",
    "यह देखो",
    "Stop scrolling",
    "…",
    "drawtext=text='x':fontfile=/etc/passwd",
]
STARTS, ENDS = 0.5, 1.5


@pytest.fixture
def installation(tmp_path) -> Iterator[Installation]:
    made = Installation(tmp_path)
    yield made
    made.clear_away()


@pytest.fixture
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        yield browser
        browser.close()


def make_media(folder: Path) -> tuple[list[Path], list[Path]]:
    folder.mkdir()
    videos = [
        media.b_frames(folder / "beach.mp4"),
        media.hevc(folder / "drone.mp4"),
        media.vp9(folder / "screen.webm"),
        media.rotated(folder / "phone.mp4"),
        media.variable_rate(folder / "stream.mp4"),
        media.silent(folder / "quiet.mp4"),
    ]
    audios = [media.audio(folder / name) for name in ("song.mp3", "beat.wav", "voice.m4a")]
    return videos, audios


def upload(page: Page, address: str, files: list[Path]) -> None:
    page.goto(address)
    page.locator("#upload-files").set_input_files([str(path) for path in files])
    for path in files:
        expect(page.locator(".tile", has_text=path.stem)).to_be_visible(timeout=60_000)
    expect(page.locator(".tile[data-live]")).to_have_count(0, timeout=120_000)
    expect(page.locator(".tile .frame-time")).to_have_count(len(files))


def cut_connections(page: Page, times: int) -> list[str]:
    """The first few parts of uploads are cut off on their way; the page must go on by itself."""
    cut: list[str] = []

    def meddle(route: Route) -> None:
        if route.request.method == "PATCH" and len(cut) < times:
            cut.append(route.request.url)
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/api/v1/uploads/**", meddle)
    return cut


def pick_everything(page: Page, field: str, count: int) -> None:
    page.locator(f"[data-picks={field}] [data-picker]").click()
    boxes = page.locator(f"#picker-results[data-kind={field.removesuffix('s')}] [data-choose]")
    expect(boxes).to_have_count(count)
    for box in boxes.all():
        box.check()
    page.locator("[data-picker-add]").click()
    expect(page.locator(f"[data-picks={field}] [data-count]")).to_have_text(str(count))


def test_a_folder_of_clips_becomes_a_zip_of_variants(installation, browser, tmp_path):
    videos, audios = make_media(tmp_path / "media")
    installation.start()
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(installation.url)
    expect(page).to_have_url(f"{installation.url}/setup")
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.locator("main form button").click()
    expect(page.get_by_text("From a folder of clips to a ZIP of variants")).to_be_visible()

    cuts = cut_connections(page, times=2)
    upload(page, f"{installation.url}/videos", videos)
    assert len(cuts) == 2
    complaints.clear()  # the browser complains of the cuts
    upload(page, f"{installation.url}/audios", audios)
    page.goto(f"{installation.url}/hooks")
    page.locator("[data-opens=add]").first.click()
    page.locator("dialog textarea[name=texts]").fill("\n".join(HOOKS))
    page.locator("dialog").get_by_role("button", name="Add hooks").click()
    expect(page.locator("#count")).to_have_text("12")

    page.goto(f"{installation.url}/tools/variants")
    for field, count in (("videos", 6), ("audios", 3), ("hooks", 12)):
        pick_everything(page, field, count)
    page.locator("[name=hook_start_seconds]").fill(str(STARTS))
    page.locator("[name=hook_duration_seconds]").fill(str(ENDS - STARTS))
    page.get_by_role("button", name="Generate 36 variants").click()

    page.wait_for_url("**/batches/*")
    expect(page.locator("article.cell[data-state=done]")).to_have_count(36, timeout=150_000)
    expect(page.get_by_text("36 of 36 done", exact=True)).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="ZIP").first.click()
    assert complaints == []
    check_zip(Path(download.value.path()), videos)


def check_zip(path: Path, videos: list[Path]) -> None:
    archive = zipfile.ZipFile(path)
    assert archive.testzip() is None
    rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig"))))
    films = [name for name in archive.namelist() if name != "manifest.csv"]
    assert len(rows) == len(films) == 36 and {row["name"] for row in rows} == set(films)
    assert {row["hook"].removeprefix("'") for row in rows} == set(HOOKS)
    assert len({(row["video_id"], row["audio_id"], row["hook_id"]) for row in rows}) == 36
    stems = {video.stem for video in videos}
    for row in rows:
        assert any(stem in row["name"] for stem in stems)
        check_film(archive.read(row["name"]), row)


def check_film(data: bytes, row: dict[str, str]) -> None:
    """The right streams and length; the text seen just in its time, in the upper half, and gone afterwards."""
    with av.open(io.BytesIO(data)) as film:
        assert sorted(stream.type for stream in film.streams) == ["audio", "video"], row
        assert film.duration / 1e6 == pytest.approx(float(row["duration_seconds"]), abs=0.05), row
        frames = list(film.decode(video=0))
    assert len(frames) == 60, row
    for frame in frames:
        picture = np.asarray(frame.to_image().convert("L"), dtype=np.int16)
        upper, lower = np.ptp(picture[: len(picture) // 2]), np.ptp(picture[len(picture) // 2 :])
        is_time = STARTS - 1e-3 <= frame.time < ENDS - 1e-3
        assert (upper > 60) == is_time, (row["name"], frame.time, upper)
        assert lower < 40, (row["name"], frame.time, lower)
