"""Each page in a real browser, at three sizes and in both themes: nobody is kept out, nothing complains or moves."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests import media, showing
from tests.gallery import Gallery
from tests.showing import ALL, FIRST, NO_PAGES, PAGES, SHIFT_MAX, SIZES, Shown

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

DESK = SIZES["1440"]
WITH_AXE = ("1440", "390")  # it sees the same on the tablet
COLOURS = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}  # all that another theme can change


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=showing.CHROMIUM, args=showing.OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Gallery]:
    made = Gallery(tmp_path_factory.mktemp("gallery"))
    try:
        made.start()
        for width in SIZES:  # what is shown only now
            assert all_complaints(browser, [FIRST], {"here": made.url}, made, width) == []
        made.welcome()
        made.furnish()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def addresses(gallery: Gallery) -> Iterator[dict[str, str]]:
    with gallery.troubles_beside() as found:
        yield found


def context(browser: Browser, size: tuple[int, int], state: Any = None, **more: Any) -> BrowserContext:
    viewport = {"width": size[0], "height": size[1]}
    return browser.new_context(viewport=viewport, color_scheme="dark", storage_state=state, **more)  # type: ignore[arg-type]


@pytest.fixture
def visit(gallery: Gallery, browser: Browser) -> Iterator[Page]:
    """A page of the administrator's, on a desk."""
    with context(browser, DESK, gallery.admin.state) as mine:
        yield mine.new_page()


def all_complaints(
    browser: Browser, pages: Sequence[Shown], addresses: dict[str, str], gallery: Gallery, width: str, state: Any = None
) -> list[str]:
    found: list[str] = []
    with context(browser, SIZES[width], state) as visit:
        for shown in pages:
            page = visit.new_page()
            found += complaints(page, shown, addresses[shown.where], gallery.ids, with_axe=width in WITH_AXE)
            page.close()
    return found


def complaints(page: Page, shown: Shown, url: str, ids: dict[str, object], *, with_axe: bool) -> list[str]:
    """What is wrong with one page in either theme: console, policy, width, shifts, accessibility."""
    found: list[str] = []
    page.on("console", lambda said: found.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: found.append(str(error)))
    page.add_init_script(showing.WATCH)
    status = showing.visit(page, shown, url, ids)
    if status != shown.status:
        found.append(f"its status is {status}")
    if page.locator("h1").count() != 1:
        found.append("it has not one h1")
    for theme in showing.THEMES:
        page.emulate_media(color_scheme=theme, reduced_motion="reduce")  # type: ignore[arg-type]  # no colour half way
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            found.append("it is wider than the screen")
        found += faults(page, COLOURS if theme == "light" else None) if with_axe else []
    seen = page.evaluate("window.seen")
    found += seen["refused"]
    if seen["shift"] > SHIFT_MAX:
        found.append(f"what it shows moves by {seen['shift']:.3f}")
    return [f"{shown.name} {line}" for line in found if status == 200 or "Failed to load resource" not in line]


def faults(page: Page, options: dict[str, Any] | None) -> list[str]:
    return [
        f"{fault['id']}: {fault['nodes'][0]['html'][:200]}"
        for fault in Axe().run(page, options=options).response["violations"]
        if fault["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("width", SIZES)
def test_every_page_is_whole_and_open_to_everybody(
    gallery: Gallery, addresses: dict[str, str], browser: Browser, width: str
) -> None:
    found: list[str] = []
    for whose in ("admin", "newcomer", "nobody"):
        theirs = [shown for shown in ALL if shown.whose == whose]
        found += all_complaints(browser, theirs, addresses, gallery, width, gallery.state_of(whose))
    assert not found, "\n".join(found)


def test_every_page_that_there_is_is_looked_at(the_app: Flask) -> None:
    known = {shown.endpoint for shown in (FIRST, *ALL)} | NO_PAGES
    there = [rule for rule in the_app.url_map.iter_rules() if "GET" in (rule.methods or ())]
    pages = {rule.endpoint for rule in there if not rule.rule.startswith("/api/v1/")}
    assert pages - known == set(), "put them into tests/showing.py"
    assert known - pages == {""}, "take them out of tests/showing.py"


def test_every_page_reads_without_javascript(gallery: Gallery, browser: Browser) -> None:
    with context(browser, DESK, gallery.admin.state, java_script_enabled=False) as visit:
        page = visit.new_page()
        for shown in PAGES:
            answer = page.goto(gallery.url + shown.address.format_map(gallery.ids))
            assert answer
            assert answer.status == 200, shown.name
            assert page.locator("h1").count() == 1, shown.name
            assert page.locator(".needs-js:visible").count() == 0, shown.name


def test_a_theme_that_was_chosen_is_there_before_anything_is_painted(gallery: Gallery, visit: Page) -> None:
    visit.goto(f"{gallery.url}/settings")
    visit.locator("label", has_text="Light").click()
    visit.goto(f"{gallery.url}/jobs", wait_until="commit")
    visit.locator("body").wait_for()
    assert visit.evaluate("getComputedStyle(document.body).colorScheme") == "light"


def test_ticking_a_hook_is_no_edit(gallery: Gallery, visit: Page) -> None:
    sent: list[str] = []
    visit.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    visit.goto(f"{gallery.url}/hooks")
    visit.locator("[data-pick]").first.check()
    visit.locator(".selection-bar").wait_for()
    visit.wait_for_timeout(300)
    assert sent == []


def test_what_asks_for_a_text_can_be_typed_into_at_once(gallery: Gallery, visit: Page) -> None:
    visit.goto(f"{gallery.url}/hooks")
    visit.locator("[data-opens=add]").first.click()
    assert visit.evaluate("document.activeElement.tagName") == "TEXTAREA"
    visit.goto(f"{gallery.url}/videos")
    visit.locator("[data-pick]").first.check()
    visit.get_by_role("button", name="Tag").click()
    visit.wait_for_function("document.activeElement.name === 'add_tag'")


def test_a_sound_dropped_among_the_videos_is_no_tile_there(gallery: Gallery, visit: Page, tmp_path: Path) -> None:
    visit.goto(f"{gallery.url}/videos")
    tiles = visit.locator("#results .tile").count()
    visit.locator("#upload-files").set_input_files(str(media.audio(tmp_path / "song.mp3", frequency=330)))
    visit.get_by_text("in Audios").wait_for()
    assert visit.locator("#results .tile").count() == tiles
