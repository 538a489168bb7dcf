"""Each page in a real browser, at three sizes and in both themes: nobody is kept out, nothing complains."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import media
from tests.installation import Installation
from tests.weights import weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SIZES = [(1440, 900), (768, 1024), (390, 844)]
THEMES = ["dark", "light"]
OUTSIDE = ["/sign-in"]
INSIDE = [
    "/",
    "/videos",
    "/videos?view=list",
    "/videos?q=nothing+like+this",
    "/audios",
    "/images",
    "/models",
    "/models?view=list",
    "/assets/1",
    "/assets/2",
    "/hooks",
    "/collections",
    "/trash",
    "/diagrams",
    "/consents",
    "/tools/character-diagram?images=1",
    "/tools/face-swap?videos=1",
    "/tools/lora-trainer",
    "/tools/lora-image?models=2",
    "/tools/variants",
    "/tools/variants?videos=1&hooks=1",
    "/jobs",
    "/batches",
    "/credits",
    "/credits?show=held",
    "/admin/credits",
    "/admin/credits?q=nobody+at+all",
    "/admin/credits/1",
    "/admin/vendors",
    "/admin/vendors/bills",
    "/admin/prices",
    "/settings",
]
MISSING = ["/assets/999", "/nothing"]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    made = Installation(tmp_path_factory.mktemp("pages"))
    made.start()
    yield made
    made.clear_away()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=options)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def signed_in(
    installation: Installation, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """The cookies of an administrator who has a video, a model, a hook, a collection and something in the trash."""
    page = browser.new_page()
    page.goto(installation.url)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.locator("main form button").click()
    clip = media.b_frames(tmp_path_factory.mktemp("clips") / "beach.mp4")
    page.goto(f"{installation.url}/videos")
    page.locator("#upload-files").set_input_files(str(clip))
    page.locator(".tile .frame-img").wait_for(timeout=60_000)
    model = tmp_path_factory.mktemp("models") / "anna.safetensors"
    model.write_bytes(weights())
    page.goto(f"{installation.url}/models")
    page.locator("#upload-files").set_input_files(str(model))
    page.locator(".tile[id]").wait_for(timeout=60_000)
    page.goto(f"{installation.url}/hooks")
    page.locator("[data-opens=add]").first.click()
    page.locator("dialog textarea").fill("Wait for it…\nشاهد هذا")
    page.locator("dialog").get_by_role("button", name="Add hooks").click()
    page.locator("[data-pick]").first.check()
    page.locator("[data-removes]").click()
    page.get_by_role("button", name="Undo").wait_for()
    page.goto(f"{installation.url}/collections")
    page.get_by_role("button", name="New collection").first.click()
    page.locator("dialog").get_by_label("Name").fill("Berlin")
    page.locator("dialog").get_by_role("button", name="Make the collection").click()
    page.locator(".collection").wait_for()
    state = page.context.storage_state()
    page.context.close()
    return dict(state)


def context(browser: Browser, size: tuple[int, int], theme: str, **more: object) -> BrowserContext:
    viewport = {"width": size[0], "height": size[1]}
    return browser.new_context(viewport=viewport, color_scheme=theme, **more)  # type: ignore[arg-type]


def complaints(page: Page, url: str, status: int, *, with_axe: bool) -> list[str]:
    """What is wrong with one page: its console, its width, its accessibility."""
    found: list[str] = []
    page.on("console", lambda said: found.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    answer = page.goto(url, wait_until="networkidle")
    assert answer
    assert answer.status == status
    found = [line for line in found if status == 200 or f"status of {status}" not in line]
    if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
        found.append("it is wider than the screen")
    for fault in Axe().run(page).response["violations"] if with_axe else []:
        if fault["impact"] in ("serious", "critical"):
            found.append(f"{fault['id']}: {fault['nodes'][0]['html'][:200]}")
    return [f"{url} {line}" for line in found]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=["desk", "tablet", "phone"])
def test_every_page_is_whole_and_open_to_everybody(
    installation: Installation, browser: Browser, signed_in: dict[str, object], size: tuple[int, int], theme: str
) -> None:
    # Axe is slow, and sees all that it can see in these two.
    with_axe = (size, theme) in ((SIZES[0], "dark"), (SIZES[-1], "light"))
    found: list[str] = []
    for urls, status, state in ((OUTSIDE, 200, None), (INSIDE, 200, signed_in), (MISSING, 404, signed_in)):
        with context(browser, size, theme, storage_state=state) as visit:
            for url in urls:
                page = visit.new_page()
                found += complaints(page, installation.url + url, status, with_axe=with_axe)
                page.close()
    assert found == []


def test_every_page_reads_without_javascript(
    installation: Installation, browser: Browser, signed_in: dict[str, object]
) -> None:
    with context(browser, SIZES[0], "dark", storage_state=signed_in, java_script_enabled=False) as visit:
        page = visit.new_page()
        for url in INSIDE:
            answer = page.goto(installation.url + url)
            assert answer
            assert answer.status == 200, url
            assert page.locator("h1").count() == 1, url
            assert page.locator(".needs-js:visible").count() == 0, url


def test_a_theme_that_was_chosen_is_there_before_anything_is_painted(
    installation: Installation, browser: Browser, signed_in: dict[str, object]
) -> None:
    with context(browser, SIZES[0], "dark", storage_state=signed_in) as visit:
        page = visit.new_page()
        page.goto(f"{installation.url}/settings")
        page.locator("label", has_text="Light").click()
        page.goto(f"{installation.url}/jobs", wait_until="commit")
        page.locator("body").wait_for()
        assert page.evaluate("getComputedStyle(document.body).colorScheme") == "light"


def test_ticking_a_hook_is_no_edit(installation: Installation, browser: Browser, signed_in: dict[str, object]) -> None:
    with context(browser, SIZES[0], "dark", storage_state=signed_in) as visit:
        page = visit.new_page()
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
        page.goto(f"{installation.url}/hooks")
        page.locator("[data-pick]").first.check()
        page.locator(".selection-bar").wait_for()
        page.wait_for_timeout(300)
        assert sent == []


def test_what_asks_for_a_text_can_be_typed_into_at_once(
    installation: Installation, browser: Browser, signed_in: dict[str, object]
) -> None:
    with context(browser, SIZES[0], "dark", storage_state=signed_in) as visit:
        page = visit.new_page()
        page.goto(f"{installation.url}/hooks")
        page.locator("[data-opens=add]").first.click()
        assert page.evaluate("document.activeElement.tagName") == "TEXTAREA"
        page.goto(f"{installation.url}/videos")
        page.locator("[data-pick]").first.check()
        page.get_by_role("button", name="Tag").click()
        page.wait_for_function("document.activeElement.name === 'add_tag'")


def test_a_sound_dropped_among_the_videos_is_no_tile_there(
    installation: Installation, browser: Browser, signed_in: dict[str, object], tmp_path: Path
) -> None:
    with context(browser, SIZES[0], "dark", storage_state=signed_in) as visit:
        page = visit.new_page()
        page.goto(f"{installation.url}/videos")
        tiles = page.locator("#results .tile").count()
        page.locator("#upload-files").set_input_files(str(media.audio(tmp_path / "song.mp3")))
        page.get_by_text("in Audios").wait_for()
        assert page.locator("#results .tile").count() == tiles
