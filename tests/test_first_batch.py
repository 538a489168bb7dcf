"""The newcomer's way: one command, the administrator, sample media, and a first batch, without a file of one's own."""

import csv
import io
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from novai_web.library import samples
from tests import showing
from tests.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

SECONDS = 300  # for one step, on a machine that has other tests to run; people wait less
VARIANTS = 20


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """Never started before; it draws its samples by itself, as every installation does."""
    made = Installation(tmp_path_factory.mktemp("newcomer"), NOVAI_SAMPLES_AT_START="true")
    yield made
    made.clear_away()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=showing.CHROMIUM, args=showing.OPTIONS)
        yield browser
        browser.close()


class Clock:
    """What a newcomer has done so far, and when."""

    def __init__(self) -> None:
        self.began_at = time.monotonic()

    def say(self, what: str) -> None:
        sys.stdout.write(f"{time.monotonic() - self.began_at:6.1f} s  {what}\n")


def become_administrator(page: Page, url: str) -> None:
    page.goto(url)
    expect(page).to_have_url(f"{url}/setup")
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Create the administrator").click()
    expect(page.get_by_text("See it work first")).to_be_visible(timeout=SECONDS * 1000)


def check_zip(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("manifest.csv").decode("utf-8-sig"))))
        films = {name for name in archive.namelist() if name != "manifest.csv"}
    assert len(films) == VARIANTS and {row["name"] for row in rows} == films
    assert {row["hook"] for row in rows} == set(samples.HOOKS), "each hook is used"
    assert len({row["video_id"] for row in rows}) == 4 and len({row["audio_id"] for row in rows}) == 2


def test_from_one_command_to_a_zip_with_six_clicks_and_no_file_of_ones_own(fresh, browser):
    clock, complaints = Clock(), list[str]()
    fresh.start()
    clock.say("the address is printed")
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(SECONDS * 1000)
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))

    become_administrator(page, fresh.url)
    clock.say("the administrator is in")
    page.get_by_role("button", name="Add sample media").click()
    # Drawn by now, or waited for on a page that comes back by itself.
    expect(page.get_by_text("Everything is ready")).to_be_visible(timeout=SECONDS * 1000)
    expect(page.locator(".toast")).to_contain_text("4 clips, 2 pieces of music, 1 picture and 10 hooks")
    clock.say("sample media is there")

    page.get_by_role("link", name="Open the Variant Generator with them").click()
    generate = page.get_by_role("button", name=f"Generate {VARIANTS} variants").last
    expect(generate).to_be_visible(timeout=SECONDS * 1000)
    clock.say("everything is picked, and the button says what it will make and cost")
    generate.click()
    page.wait_for_url("**/batches/*")
    expect(page.locator("article.cell[data-state=done]")).to_have_count(VARIANTS, timeout=SECONDS * 1000)
    clock.say(f"{VARIANTS} variants are made")

    with page.expect_download() as download:
        page.get_by_role("link", name="ZIP").first.click()
    check_zip(Path(download.value.path()))
    clock.say("the ZIP is here")
    page.goto(fresh.url)
    expect(page.get_by_text("See it work first")).to_have_count(0)
    page.goto(f"{fresh.url}/videos?view=list")
    expect(page.get_by_role("cell", name="720×1280")).to_have_count(4)
    assert complaints == []
    page.close()
