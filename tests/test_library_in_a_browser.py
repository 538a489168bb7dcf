"""The library in a real browser: long lists, clips that play, many things at once, and a way back from everything."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Error, Page

from novai_web import db
from novai_web.config import Settings
from novai_web.embedded import servers
from tests import big_library, media
from tests import installation as installed
from tests.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DESK, PHONE = (1440, 900), (390, 844)
ROWS = 400  # of which 220 are videos that a list shows
# What stands on a frame, and is cut: wider than its own box, or beyond the frame's.
CUT = """() => [...document.querySelectorAll(".frame > :is(.frame-time, .frame-badge, .frame-mark)")].filter((mark) => {
  if (!mark.checkVisibility()) return false;
  const [a, b] = [mark.getBoundingClientRect(), mark.closest(".frame").getBoundingClientRect()];
  return mark.scrollWidth > mark.clientWidth + 1 || a.left < b.left - 1 || a.right > b.right + 1;
}).map((mark) => mark.textContent.trim())"""
PLAYS = "() => document.querySelectorAll('.frame-clip.is-playing').length"


@pytest.fixture(scope="module")
def state(installation: Installation, browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The cookies of somebody with one clip that was uploaded, and a long list of others that look like it."""
    page = browser.new_page()
    page.goto(installation.url)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.locator("main form button").click()
    page.goto(f"{installation.url}/videos")
    clip = media.b_frames(tmp_path_factory.mktemp("clips") / "beach.mp4")
    page.locator("#upload-files").set_input_files(str(clip))
    page.locator(".tile .frame-img").wait_for(timeout=60_000)
    app = db.bare_app(servers.found(Settings(_env_file=None, data=installation.data)))
    with app.app_context():
        big_library.fill(1, ROWS)
        big_library.settle()
    found = dict(page.context.storage_state())
    page.context.close()
    return found


@pytest.fixture
def visit(browser: Browser, state: dict[str, object]) -> Iterator[BrowserContext]:
    with browser.new_context(viewport=_size(DESK), storage_state=state) as context:  # type: ignore[arg-type]
        context.set_default_timeout(120_000)
        yield context


def _size(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def opened(visit: BrowserContext, installation: Installation, where: str = "/videos") -> Page:
    page = visit.new_page()
    page.goto(f"{installation.url}{where}")
    page.locator("[data-item]").first.wait_for()
    return page


def until(page: Page, condition: str) -> None:
    """Asked from outside: the policy of our pages forbids to evaluate a text in them."""

    def holds() -> bool:
        try:
            return bool(page.evaluate(condition))
        except Error:  # it is on its way to the next page
            return False

    installed.until(holds)


def items(page: Page) -> int:
    return page.locator("[data-items] > [data-item]").count()


def further(page: Page) -> None:
    """Scroll to what is the end so far, until there is more."""
    before = items(page)
    page.evaluate("document.querySelector('[data-items]').lastElementChild.scrollIntoView()")
    until(page, f"document.querySelectorAll('[data-items] > [data-item]').length > {before}")


@pytest.mark.parametrize("view", ["grid", "list"])
def test_a_list_goes_on_as_one_scrolls_and_going_back_leads_to_the_same_place(visit, installation, state, view):
    page = opened(visit, installation, f"/videos?view={view}")
    further(page)
    further(page)
    shown = items(page)
    assert len(set(page.eval_on_selector_all("[data-items] > [data-item]", "all => all.map(each => each.id)"))) == shown
    item = page.locator("[data-items] > [data-item]").nth(shown - 20)
    name, link = item.get_attribute("id"), item.locator("a[href]").first
    link.scroll_into_view_if_needed()
    top = item.bounding_box()
    link.focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/assets/*")
    page.go_back()
    until(page, f"document.activeElement.closest('[data-item]')?.id === '{name}'")
    page.wait_for_timeout(300)
    again = page.locator(f"#{name}").bounding_box()
    assert top and again and abs(top["y"] - again["y"]) < 60, "it stands where it stood"
    assert page.locator(".more-row .more-row, td > tr").count() == 0, "rows are rows"


def test_a_clip_plays_while_the_pointer_rests_on_it_and_only_there(
    visit, installation, browser, state, record_property
):
    page = opened(visit, installation)
    frames = page.locator("[data-clip]")
    frames.first.hover()
    until(page, f"({PLAYS})() === 1")
    page.mouse.move(5, 5)
    until(page, f"({PLAYS})() === 0")
    taken = page.evaluate(
        """async () => {
          const frame = document.querySelectorAll("[data-clip]")[1];
          frame.scrollIntoView();
          const begun = performance.now();
          frame.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType: "mouse" }));
          while (!frame.querySelector(".is-playing")) await new Promise(requestAnimationFrame);
          return performance.now() - begun;
        }"""
    )
    record_property("milliseconds_until_it_moved", round(taken))
    frames.nth(2).hover()
    until(page, f"({PLAYS})() === 1 && document.querySelectorAll('.frame-clip').length === 1")
    still = browser.new_context(reduced_motion="reduce", storage_state=state, viewport=_size(DESK))
    page = opened(still, installation)
    page.locator("[data-clip]").first.hover()
    page.wait_for_timeout(1000)
    assert page.locator(".frame-clip").count() == 0
    still.close()


def test_on_a_phone_a_tap_on_the_play_mark_plays_it_and_no_mark_is_cut(browser, installation, state):
    phone = browser.new_context(viewport=_size(PHONE), storage_state=state, has_touch=True, is_mobile=True)
    page = opened(phone, installation)
    page.locator("[data-play]").first.tap()
    until(page, f"({PLAYS})() === 1")
    assert page.url.endswith("/videos"), "the tap opens nothing"
    page.locator("[data-play]").nth(1).tap()
    until(page, f"({PLAYS})() === 1 && document.querySelectorAll('.frame-clip').length === 1")
    page.locator("[data-play]").nth(1).tap()
    until(page, f"({PLAYS})() === 0")
    for where in ("/videos", "/videos?type=variant", "/", "/collections"):
        page.goto(f"{installation.url}{where}")
        assert page.evaluate(CUT) == [], where
    phone.close()


def test_many_are_chosen_by_keys_and_clicks_and_all_that_match_stay_chosen(visit, installation):
    page = opened(visit, installation)
    count, tiles = page.locator(".selection-count"), page.locator("[data-item]")
    tiles.nth(1).locator(".tile-name").click(modifiers=["Control"])
    assert count.inner_text() == "1 selected" and page.url.endswith("/videos")
    tiles.nth(4).locator(".tile-name").click(modifiers=["Shift"])
    assert count.inner_text() == "4 selected"
    tiles.nth(2).locator(".frame").click()
    assert count.inner_text() == "3 selected", "while something is selected, a click on a picture selects"
    page.keyboard.press("Escape")
    page.locator(".selection-bar").wait_for(state="hidden")
    page.keyboard.press("Control+a")
    assert count.inner_text() == f"{items(page)} selected"
    page.locator("[data-select-all]").click()
    assert count.inner_text() == "221 selected"
    further(page)
    assert count.inner_text() == "221 selected" and page.locator("[data-pick]:not(:checked)").count() == 0
    page.locator("[data-pick]").first.uncheck()
    assert count.inner_text() == f"{items(page) - 1} selected"


def test_what_was_deleted_far_down_a_list_comes_back_by_undo_and_one_stays_where_one_was(visit, installation):
    page = opened(visit, installation)
    further(page)
    third = page.locator("[data-item]").nth(80)
    name = third.get_attribute("id")
    third.scroll_into_view_if_needed()
    third.hover()
    third.locator("[data-pick]").check()
    page.locator("[data-removes]").click()
    page.get_by_role("button", name="Undo").wait_for()
    assert page.locator(f"#{name}").count() == 0
    page.get_by_role("button", name="Undo").click()
    page.locator("[data-toast]", has_text="Undone: 1 thing is as before.").wait_for()
    page.locator(f"#{name}").wait_for(state="attached")
    until(page, "scrollY > 500")


def test_one_goes_from_each_to_the_next_in_the_order_of_the_list_and_back_to_the_last(visit, installation):
    page = opened(visit, installation, "/videos?sort=name")
    names = page.eval_on_selector_all("[data-items] > [data-item]", "all => all.map(each => each.id.slice(6))")
    page.locator("[data-item]").nth(2).locator(".tile-name").click()
    page.locator("[data-next]").click()
    page.wait_for_url(f"**/assets/{names[3]}")
    page.locator("[data-next][href]").wait_for()
    page.keyboard.press("j")
    page.wait_for_url(f"**/assets/{names[4]}")
    page.locator("[data-previous][href]").wait_for()
    page.keyboard.press("k")
    page.wait_for_url(f"**/assets/{names[3]}")
    page.go_back()
    until(page, f"document.activeElement.closest('[data-item]')?.id === 'asset-{names[3]}'")


def test_a_second_visit_loads_no_picture_anew(visit, installation):
    page = opened(visit, installation)
    page.wait_for_load_state("networkidle")
    page.goto(f"{installation.url}/audios")
    page.goto(f"{installation.url}/videos", wait_until="networkidle")
    sizes = page.evaluate(
        """performance.getEntriesByType("resource")
        .filter(({ name }) => name.includes("/media/")).map((each) => each.transferSize)"""
    )
    assert sizes and set(sizes) == {0}, "each came from the browser's own cache, without a question"


def test_nothing_moves_while_pictures_and_pages_come_in(visit, installation):
    page = visit.new_page()
    page.add_init_script(
        """window.shifted = 0; new PerformanceObserver((list) => {
          for (const each of list.getEntries()) if (!each.hadRecentInput) window.shifted += each.value;
        }).observe({ type: "layout-shift", buffered: true });"""
    )
    for where in ("/videos", "/videos?view=list", "/audios", "/assets/1", "/collections"):
        page.goto(f"{installation.url}{where}", wait_until="networkidle")
        if where == "/videos":
            further(page)
            page.wait_for_timeout(300)
        assert page.evaluate("window.shifted") < 0.02, where


def test_files_may_be_dropped_anywhere_on_a_list(visit, installation, tmp_path: Path):
    page = opened(visit, installation, "/videos")
    drag = """(kind) => {
      const data = new DataTransfer();
      data.items.add(new File(["not a film"], "notes.txt", { type: "text/plain" }));
      dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    }"""
    page.evaluate(drag, "dragenter")
    assert (
        page.locator("#dropzone").is_visible()
        and "Drop to upload into videos" in page.locator("#dropzone").inner_text()
    )
    page.evaluate(drag, "drop")
    assert page.locator("#dropzone").is_hidden()
    row = page.locator("#uploads .upload")
    row.wait_for()
    until(page, "document.querySelector('#uploads .upload').dataset.tone === 'failed'")
    assert "notes.txt" in row.inner_text() and row.get_by_role("button", name="Try again").is_visible()
    problems: list[str] = []
    for where in ("/hooks", "/diagrams", "/assets/1"):
        page = visit.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(f"{installation.url}{where}")
        page.evaluate(drag, "dragenter")
        page.evaluate(drag, "drop")
    assert problems == []
