"""All of it without a mouse: the main path to the ZIP, the search, the shortcuts, and where the focus goes."""

import re
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests import media
from tests.by_keyboard import Keyboard
from tests.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def visit(installation: Installation, browser: Browser) -> Iterator[Page]:
    """One tab, in which all of these tests happen one after the other, as on a working day."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}, accept_downloads=True).new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.on("filechooser", lambda _: None)  # from now on the browser asks us, and not whoever sits before it
    yield page
    page.context.close()


def begin(page: Page, installation: Installation, folder: Path) -> None:
    """An administrator with two clips, made in whatever way is quickest."""
    for label, text in (("Name", "Ada"), ("E-mail", "ada@example.com"), ("Password", "correct horse battery")):
        page.get_by_label(label).fill(text)
    page.locator("main form button").first.click()
    page.goto(f"{installation.url}/videos")
    clips = [media.b_frames(folder / "beach.mp4"), media.b_frames(folder / "beach two.mp4", frames=45)]
    page.locator("#upload-files").set_input_files([str(clip) for clip in clips])
    page.locator(".tile .frame-img").nth(1).wait_for()
    page.goto(installation.url, wait_until="networkidle")


@pytest.fixture
def page(visit: Page, installation: Installation, tmp_path: Path) -> Page:
    visit.goto(f"{installation.url}/", wait_until="networkidle")
    if visit.get_by_label("Name").count():  # another process walks the main path
        begin(visit, installation, tmp_path)
    return visit


def upload(page: Page, keys: Keyboard, *clips: Path) -> None:
    keys.go("g", "v")
    wanted = page.locator(".tile[id] .frame-img").count() + len(clips)
    keys.tab_to("^Upload")
    with page.expect_file_chooser() as chooser:
        keys.press("Enter")
    chooser.value.set_files([str(clip) for clip in clips])
    page.wait_for_function(f"() => document.querySelectorAll('.tile[id] .frame-img').length >= {wanted}")


def pick_all(page: Page, keys: Keyboard, what: str) -> None:
    """Open the picker, choose everything in it, and be back on the button that opened it."""
    keys.tab_to(f"^Add {what}$")
    keys.press("Enter")
    page.locator("#picker [data-choose]").first.wait_for()
    page.wait_for_function("() => document.activeElement.matches('#picker input[type=search]')")
    keys.press("ArrowDown", "Control+a", "Enter")
    page.wait_for_function("() => !document.getElementById('picker').open")
    page.wait_for_function(f"() => document.activeElement.ariaLabel === 'Add {what}'")


def test_the_main_path_from_the_first_visit_to_the_zip_needs_no_mouse(
    visit: Page, installation: Installation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, keys = visit, Keyboard(visit)
    page.goto(installation.url)
    for text in ("Ada", "\t", "ada@example.com", "\t", "correct horse battery"):
        keys.press("Tab") if text == "\t" else keys.write(text)
    keys.go("Enter")

    keys.tab_to("^Your account$")
    keys.press("Enter")
    keys.tab_to("^Sign out$")
    keys.go("Enter")
    keys.write("ada@example.com")
    keys.press("Tab")
    keys.write("correct horse battery")
    keys.go("Enter")
    assert page.url == f"{installation.url}/"

    upload(page, keys, *(media.b_frames(tmp_path / name) for name in ("beach.mp4",)))

    keys.go("g", "h")
    keys.tab_to("^Add hooks$")
    keys.press("Enter")
    keys.write("Wait for it")
    keys.press("Enter")
    keys.write("Look at this")
    keys.tab_to("^Add hooks$")
    keys.go("Enter")

    keys.go("g", "m")
    pick_all(page, keys, "videos")
    pick_all(page, keys, "hooks")
    page.get_by_text(re.compile("Generate 2 variants")).wait_for()
    keys.tab_to("^Generate 2 variants")
    keys.go("Enter")

    page.locator(".batch-head").get_by_text("2 of 2 done").wait_for()
    page.wait_for_load_state("networkidle")
    keys.tab_to("^Keep all$")
    keys.press("Enter")
    page.locator(".batch-head").get_by_text("Kept in your library").wait_for()
    page.wait_for_load_state("networkidle")
    keys.tab_to("^Download ZIP$")
    with page.expect_download() as download:
        keys.press("Enter")
    download.value.save_as(tmp_path / "variants.zip")
    names = zipfile.ZipFile(tmp_path / "variants.zip").namelist()
    assert len([name for name in names if name.endswith(".mp4")]) == 2
    with capsys.disabled():
        sys.stdout.write(f"\nfrom the first visit to the ZIP: {keys.pressed} keys\n")


def test_a_search_is_walked_with_the_arrows_and_gives_the_focus_back(page: Page) -> None:
    keys = Keyboard(page)
    keys.tab_to("^Videos$")
    keys.press("/")
    page.locator("#search[open] [role=option]").first.wait_for()
    keys.write("beach")
    page.locator("#search-results[data-q=beach]").wait_for()
    field = page.locator("#search-field")
    assert field.get_attribute("aria-activedescendant") == "hit-1"
    keys.press("ArrowDown")
    assert page.locator("[role=option][aria-selected=true]").get_attribute("id") == "hit-2"
    keys.press("ArrowUp", "ArrowUp")
    last = page.locator("[role=option]").last.get_attribute("id")
    assert field.get_attribute("aria-activedescendant") == last, "it goes round"
    keys.press("Escape")
    assert field.input_value() == "" and page.locator("#search[open]").count() == 1
    keys.press("Escape")
    assert page.locator("#search[open]").count() == 0
    assert keys.focused()["name"] == "Videos"

    keys.press("/")
    keys.write("beach")
    page.locator("#search-results[data-q=beach] [aria-selected=true]").wait_for()
    keys.press("Enter")
    page.wait_for_url("**/assets/*")
    page.wait_for_load_state("networkidle")
    keys.press("/")
    page.locator("[data-recent] [role=option]").first.wait_for()  # what was seen last on this device


def test_the_sheet_shows_the_keys_and_they_work(page: Page, installation: Installation) -> None:
    keys = Keyboard(page)
    keys.press("?")
    shown = page.locator("#shortcuts dd").evaluate_all(
        "(all) => all.map((dd) => [...dd.children].map((key) => key.textContent))"
    )
    keys.press("Escape")
    assert page.locator("#shortcuts[open]").count() == 0
    for pressed in [pressed for pressed in shown if pressed[0] == "g"]:
        with page.expect_navigation(wait_until="domcontentloaded", timeout=20_000):
            keys.press(*pressed)
    page.goto(f"{installation.url}/jobs", wait_until="networkidle")
    keys.press("q")
    page.locator("#queue[open]").wait_for()
    keys.press("Escape")
    assert page.locator("dialog[open]").count() == 0


def test_u_asks_for_files_on_a_list_of_assets(page: Page, installation: Installation) -> None:
    page.goto(f"{installation.url}/videos", wait_until="networkidle")
    with page.expect_file_chooser():
        Keyboard(page).press("u")


def test_no_key_is_a_shortcut_while_somebody_types(page: Page, installation: Installation) -> None:
    keys = Keyboard(page)
    page.goto(f"{installation.url}/videos", wait_until="networkidle")
    keys.press("f")
    keys.write("gd?/qxz")
    page.wait_for_timeout(500)
    assert page.locator("[data-filter]").input_value() == "gd?/qxz"
    assert page.locator("dialog[open]").count() == 0 and "/videos" in page.url


def test_after_something_was_deleted_the_focus_is_on_what_stood_beside_it_and_z_brings_it_back(
    page: Page, installation: Installation, tmp_path: Path
) -> None:
    keys = Keyboard(page)
    upload(page, keys, *(media.video(tmp_path / f"{frames}.mp4", frames=frames) for frames in (40, 50)))
    page.goto(f"{installation.url}/videos", wait_until="networkidle")
    tiles = page.locator(".tile")
    before = tiles.count()
    keys.press("j", "j", "x")
    page.locator(".selection-bar.is-shown").wait_for()
    keys.tab_to("^Delete$")
    keys.press("Enter")
    page.wait_for_function(f"() => document.querySelectorAll('.tile').length === {before - 1}")
    page.wait_for_function("() => document.activeElement.closest('[data-item]') !== null")
    page.get_by_role("button", name="Undo").wait_for()
    keys.press("z")
    page.wait_for_function(f"() => document.querySelectorAll('.tile').length === {before}")


def test_the_first_stop_leads_past_the_menus(page: Page, installation: Installation) -> None:
    keys = Keyboard(page)
    page.goto(f"{installation.url}/jobs", wait_until="networkidle")
    keys.press("Tab")
    assert keys.focused()["name"] == "Skip to the content"
    keys.press("Enter", "Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")


def test_a_menu_closes_behind_whoever_leaves_it_and_escape_is_back_on_its_button(page: Page) -> None:
    keys = Keyboard(page)
    keys.tab_to("^Your account$")
    keys.press("Enter")
    keys.press("ArrowDown")
    assert page.evaluate("document.activeElement.matches('.menu-item')")
    keys.press("Escape")
    assert keys.focused()["name"] == "Your account" and page.locator("details.menu[open]").count() == 0
    keys.press("Enter")
    keys.tab_to("^Shortcuts")
    keys.press("Enter")
    page.locator("#shortcuts[open]").wait_for()
    keys.press("Escape")
    page.wait_for_function("() => document.activeElement.matches('summary.avatar')")
