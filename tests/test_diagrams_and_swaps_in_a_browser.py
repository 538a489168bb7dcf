"""A diagram and a swap from the first upload to the result, and a consent from its dialog to its end, in a browser."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests import media
from tests.installation import Installation
from tests.things import png

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_MS = 120_000


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("swapping"), NOVAI_SANDBOX_SECONDS="0.5")
    made.start()
    yield made
    made.clear_away()


@pytest.fixture(scope="module")
def page(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The administrator's, with two clips and a picture in the library."""
    folder = tmp_path_factory.mktemp("files")
    clips = [media.video(folder / f"clip {n}.mp4", frames=45 + n) for n in range(2)]
    (folder / "Anna.png").write_bytes(png(1, 200, 200))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.goto(installation.url)
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("E-mail").fill("ada@example.com")
        page.get_by_label("Password").fill("correct horse battery")
        page.locator("main form button").click()
        for where, files in (("/videos", clips), ("/images", [folder / "Anna.png"])):
            page.goto(installation.url + where)
            page.locator("#upload-files").set_input_files(files)
            expect(page.locator(".tile .frame-img")).to_have_count(len(files))
        yield page
        browser.close()


def test_a_picture_becomes_a_diagram(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.url}/images")
    page.locator(".tile-link").first.click()
    page.get_by_role("link", name="Use in Character Diagrams").click()
    expect(page.get_by_label("Prompt")).to_have_value(re.compile("Turnaround"))
    page.get_by_label("Notes").fill("Boots instead of sandals")
    page.get_by_role("button", name="Generate 1 result · 6 credits").click()
    expect(page.locator("article.job")).to_contain_text("Done")
    expect(page.locator("article.job")).to_contain_text("Sandbox")
    page.goto(f"{installation.url}/diagrams")
    expect(page.locator(".tile")).to_have_count(1)
    expect(page.locator(".tile")).to_contain_text("Anna, diagram")


def test_clips_get_a_face_with_a_consent_that_is_written_down_on_the_way(
    page: Page, installation: Installation
) -> None:
    page.goto(f"{installation.url}/tools/face-swap")
    pick(page, "videos", 2)
    pick(page, "face", 2)
    expect(page.locator('[data-picks="face"] .pick')).to_have_count(1)  # of two that were ticked, the last one
    expect(page.locator("#quote")).to_contain_text("“Whose face is it?” is missing.")
    page.get_by_role("button", name="New consent").click()
    page.locator("#consent-form #who").fill("Anna Muster")
    page.get_by_role("button", name="Write it down").click()
    expect(page.locator("#consent-form")).to_contain_text("Say how it was given")
    page.locator("#consent-form #how").fill("Signed release of 3 May")
    page.get_by_role("button", name="Write it down").click()
    expect(page.locator("#new-consent")).to_be_hidden()
    expect(page.locator("select[name=consent] option:checked")).to_have_text("Anna Muster")
    page.get_by_role("button", name="Generate 2 results").click()
    expect(page.locator(".batch-head")).to_contain_text("2 of 2 done")
    page.goto(f"{installation.url}/tools/variants")
    page.locator('[data-picks="videos"] [data-picker]').click()
    expect(page.locator("#picker-results")).to_contain_text("Swapped")


def test_a_revoked_consent_shows_what_was_made_and_is_offered_no_more(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.url}/consents")
    page.get_by_role("link", name="Anna Muster").click()
    expect(page.locator(".tile")).to_have_count(2)
    page.get_by_role("button", name="Revoke").click()
    page.locator("[data-confirm-yes]").click()
    expect(page.locator("main")).to_contain_text("Revoked")
    expect(page.locator(".tile")).to_have_count(2)
    page.goto(f"{installation.url}/tools/face-swap")
    expect(page.locator("select[name=consent]")).not_to_contain_text("Anna Muster")


def pick(page: Page, field: str, count: int) -> None:
    page.locator(f'[data-picks="{field}"] [data-picker]').click()
    boxes = page.locator("[data-choose]")
    expect(boxes).to_have_count(count)
    for at in range(count):
        boxes.nth(at).check()
    page.locator("[data-picker-add]").click()
    expect(page.locator("#picker")).to_be_hidden()
