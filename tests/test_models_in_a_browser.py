"""A model from first to last in a real browser, at the sandbox: pictures as a ZIP, a consent, a training, pictures."""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.installation import Installation
from tests.things import png

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_MS = 120_000


@pytest.fixture
def page(installation: Installation) -> Iterator[Page]:
    """An administrator's, who has just come in for the first time. Nothing may complain on its console."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        said: list[str] = []
        page.on("console", lambda line: said.append(line.text) if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(installation.url)
        page.get_by_label("Name").fill("Ada")
        page.get_by_label("E-mail").fill("ada@example.com")
        page.get_by_label("Password").fill("correct horse battery")
        page.locator("main form button").click()
        yield page
        browser.close()
        assert said == []


def test_a_zip_becomes_a_model_and_the_model_makes_pictures(
    installation: Installation, page: Page, tmp_path: Path
) -> None:
    pictures = tmp_path / "Anna.zip"
    with zipfile.ZipFile(pictures, "w") as archive:
        for number in range(10):
            archive.writestr(f"photo {number}.png", png(number, 256, 256))
            archive.writestr(f"photo {number}.txt", f"a woman, picture {number}")
    page.goto(f"{installation.url}/tools/lora-trainer")
    page.get_by_label("Pictures as a ZIP").set_input_files(str(pictures))
    page.get_by_role("button", name="Open").click()
    expect(page.locator("[data-picks=pictures] [data-id]")).to_have_count(10)
    page.get_by_label("Name", exact=True).fill("Anna")
    page.get_by_label("Trigger word").fill("ohwx")
    page.get_by_label("Steps").fill("100")
    page.get_by_role("button", name="New consent").click()
    dialog = page.locator("#new-consent")
    dialog.get_by_text("synthetic").first.click()
    dialog.locator("button:not([data-closes])").last.click()
    # The pictures are still being prepared; the price comes by itself as soon as they are ready.
    go = page.get_by_role("button", name="Generate 1 result · 68 credits")
    go.wait_for(timeout=PATIENCE_MS)
    go.click()
    expect(page.locator(".job .badge", has_text="Done")).to_be_visible(timeout=PATIENCE_MS)
    page.goto(f"{installation.url}/models")
    page.locator(".tile", has_text="Anna").locator("a").click()
    expect(page.locator(".model-word strong")).to_have_text("ohwx")
    with page.expect_download() as saved:
        page.get_by_role("link", name="High-noise weights").click()
    assert saved.value.suggested_filename == "Anna high.safetensors"
    page.get_by_role("link", name="Use in LoRA Image").click()
    page.get_by_label("Prompt").fill("a woman on a beach")
    page.get_by_role("button", name="Generate 1 result").click()
    picture = page.locator("[data-item] .frame-img")
    picture.first.wait_for(timeout=PATIENCE_MS)
    page.goto(f"{installation.url}/images")
    page.locator(".tile", has_text="Anna 1").locator("a").click()
    expect(page.get_by_role("heading", name="Made from")).to_be_visible()
    expect(page.locator("main")).to_contain_text("Sandbox")
