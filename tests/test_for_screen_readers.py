"""What a screen reader says, what stays still for those who asked for that, and what is seen at twice the size."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from novai_web import consents, jobs
from novai_web.accounts import Account
from novai_web.config import Settings
from novai_web.db import transaction
from novai_web.library import collections, hooks, trash
from novai_web.library.assets import Library
from novai_web.library.models import Asset
from novai_web.tools import echo
from tests.served import served, sign_in
from tests.showing import CHROMIUM, OPTIONS, PAGES
from tests.things import put

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DESK, TWICE_THE_SIZE = (1440, 900), (720, 450)
STRUCTURE = """() => {
  const found = [];
  const unless = (is, fault) => is || found.push(fault);
  const seen = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility());
  const all = (selector) => seen.filter((element) => element.matches(selector));
  const start = (element) => element.outerHTML.slice(0, 90);
  const by = (element) => (element.getAttribute("aria-labelledby") ?? "").split(" ")
    .map((id) => document.getElementById(id)?.textContent.trim() ?? "").join("");
  const named = (element) => element.getAttribute("aria-label") || by(element);
  unless(all("h1").length === 1, `${all("h1").length} headings of the first level`);
  unless(all("main").length === 1, `${all("main").length} main landmarks`);
  const levels = all("h1, h2, h3, h4").map((heading) => Number(heading.tagName[1]));
  levels.forEach((level, at) => unless(!at || level <= levels[at - 1] + 1, `h${level} comes after h${levels[at - 1]}`));
  for (const mark of all("nav, aside, [role=region], [role=search]")) unless(named(mark), `nameless ${start(mark)}`);
  for (const dialog of document.querySelectorAll("dialog")) unless(named(dialog), `nameless dialog ${dialog.id}`);
  for (const image of document.images) unless(image.hasAttribute("alt"), `no alt: ${start(image)}`);
  for (const table of all("table")) {
    unless(table.caption || named(table), "a table without a caption");
    for (const head of table.querySelectorAll("thead th")) unless(head.scope, `no scope: ${start(head)}`);
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) unless(ids.indexOf(id) === ids.lastIndexOf(id), `#${id} is there twice`);
  const heard = (element) => !element.closest("[aria-hidden=true]");
  for (const each of all("button, a[href], input:not([type=hidden]), select, textarea, summary").filter(heard))
    unless(named(each) || (each.labels?.[0] ?? each).textContent.trim() || each.title, `nameless ${start(each)}`);
  return found;
}"""
# What sticks out at the side, and is in nothing that can be scrolled sideways.
CUT = """() => {
  const scrolls = (element) => /(auto|scroll)/.test(getComputedStyle(element).overflowX);
  const inScroller = (element) => element && (scrolls(element) || inScroller(element.parentElement));
  const isSeen = (element) => element.checkVisibility({ opacityProperty: true, visibilityProperty: true });
  const sticksOut = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 1 && (box.left < -1 || box.right > innerWidth + 1) && !inScroller(element.parentElement);
  };
  const kinds = "main :is(a, button, input, select, textarea, h1, h2, p), header :is(a, button, h1)";
  const found = [...document.querySelectorAll(kinds)]
    .filter((element) => isSeen(element) && !element.closest(".visually-hidden") && sticksOut(element))
    .map((element) => element.outerHTML.slice(0, 120));
  if (document.documentElement.scrollWidth > innerWidth) found.push("the page is wider than the screen");
  return found;
}"""
MOVING = """() => document.getAnimations()
  .filter((animation) => animation.playState === "running" && animation.effect.getComputedTiming().duration > 20)
  .map((animation) => animation.animationName ?? animation.transitionProperty)"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def ids(app: Flask, charlie: Account, settings: Settings, work: Callable[[], None]) -> dict[str, object]:
    """One of everything, Charlie's, by the names that the addresses of pages have for it."""
    library, measured = Library(charlie.id), {"duration_seconds": 2.0, "width": 180, "height": 320}
    made_of = {}
    for kind in ("video", "audio", "image"):
        made_of[kind] = put(charlie, settings, kind=kind, name=f"Beach {kind}", **measured).id
    made_of["model"] = put(charlie, settings, kind="model", name="Anna", media={"trigger": "ohwx"}).id
    made_of["variant"] = put(charlie, settings, type="variant", name="Beach variant", made_by_tool="variants").id
    put(charlie, settings, name="Still arriving", status="processing")
    put(charlie, settings, name="Broken", status="failed", error="Nothing can play this file.")
    gone = put(charlie, settings, name="Thrown away").id
    with transaction():
        made = jobs.submit(charlie, echo.tool, {"copies": 3}, settings)
        hook = hooks.add(library, ["Wait for it", "شاهد هذا"], "Teasers").hooks[0]
        collections.add(library, "video", "Beaches")
        consent = consents.give(library, who="Anna", how="On paper")
        trash.throw_away(library, library.assets().where(Asset.id == gone))
    work()
    with transaction():
        waiting = jobs.submit(charlie, echo.tool, {"copies": 1}, settings)
    return {
        **made_of,
        "videos": made_of["video"],
        "hooks": hook.id,
        "consent": consent.id,
        "batch": made.batch.id if made.batch else 0,
        "job": made.jobs[0].id,
        "failed": made.jobs[0].id,
        "waiting": waiting.jobs[0].id,
        "person": charlie.id,
    }


def addresses(ids: dict[str, object]) -> list[str]:
    """Every page in the shell of which there is one here."""
    mine = [shown for shown in PAGES if shown.whose == "admin" and shown.status == 200 and not shown.opened]
    return [shown.address.format(**ids) for shown in mine if shown.endpoint != "api_docs.page"]


@pytest.fixture
def url(app: Flask, ids: dict[str, object]) -> Iterator[str]:
    with served(app) as address:
        yield address


@pytest.fixture
def visiting(browser: Browser, url: str, charlie: Account) -> Iterator[Callable[..., Page]]:
    """`visiting(size, **more)`: a tab of Charlie's, signed in."""
    opened: list[BrowserContext] = []
    state: dict[str, Any] = {}

    def visit(size: tuple[int, int] = DESK, **more: Any) -> Page:
        viewport = {"width": size[0], "height": size[1]}
        opened.append(browser.new_context(viewport=viewport, storage_state=state or None, **more))  # type: ignore[arg-type]
        page = opened[-1].new_page()
        page.set_default_timeout(60_000)
        if not state:
            sign_in(page, url, charlie.email)
            state.update(opened[-1].storage_state())
        return page

    yield visit
    for context in opened:
        context.close()


def test_every_page_has_its_landmarks_headings_and_names(
    visiting: Callable[..., Page], url: str, ids: dict[str, object]
) -> None:
    page = visiting()
    found = []
    for address in addresses(ids):
        page.goto(url + address)
        found += [f"{address}: {fault}" for fault in page.evaluate(STRUCTURE)]
    assert found == []


def test_at_twice_the_size_nothing_is_cut_and_nothing_scrolls_sideways(
    visiting: Callable[..., Page], url: str, ids: dict[str, object]
) -> None:
    page = visiting(TWICE_THE_SIZE)
    found = []
    for address in addresses(ids):
        page.goto(url + address)
        found += [f"{address}: {fault}" for fault in page.evaluate(CUT)]
    assert found == []
    page.emulate_media(reduced_motion="reduce")  # a drawer that slides in is nowhere yet
    for key, dialog in (("/", "search"), ("?", "shortcuts"), ("q", "queue")):
        page.keyboard.press(key)
        expect(page.locator(f"dialog#{dialog} [data-closes]")).to_be_in_viewport(ratio=1)
        box = page.locator(f"dialog#{dialog}").bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= 720 and box["y"] + box["height"] <= 450, dialog
        page.locator(f"dialog#{dialog} [data-closes]").click()


def test_nothing_moves_for_those_who_asked_for_less_motion(
    visiting: Callable[..., Page], url: str, ids: dict[str, object]
) -> None:
    still, lively = visiting(reduced_motion="reduce"), visiting(reduced_motion="no-preference")
    for page in (still, lively):
        page.goto(f"{url}/videos")  # something is still arriving there
        page.wait_for_timeout(300)
    assert lively.evaluate(MOVING) != [] and still.evaluate(MOVING) == []
    for key in ("/", "Escape", "q", "Escape"):
        still.keyboard.press(key)
        still.wait_for_timeout(60)
        assert still.evaluate(MOVING) == [], key


def test_where_the_system_chooses_the_colours_what_is_chosen_can_still_be_seen(
    visiting: Callable[..., Page], url: str
) -> None:
    page = visiting(forced_colors="active")
    page.goto(f"{url}/videos")
    here = page.locator('.nav-link[aria-current="page"]')
    assert here.evaluate("(link) => getComputedStyle(link).outlineStyle") == "solid"
    page.locator("[data-pick]").first.check(force=True)
    assert page.locator("[data-pick]").first.evaluate("(box) => getComputedStyle(box).appearance") == "auto"
    page.keyboard.press("/")
    page.keyboard.type("beach")
    chosen = page.locator('.hit[aria-selected="true"]')
    assert chosen.evaluate("(hit) => getComputedStyle(hit).outlineStyle") == "solid"


def test_a_screen_reader_is_told_what_changes(visiting: Callable[..., Page], url: str) -> None:
    page = visiting()
    page.goto(f"{url}/videos?q=beach")
    page.keyboard.press("f")
    page.keyboard.type("beach video")
    expect(page.locator("#announcer")).to_have_text("Videos: 1")
    page.goto(f"{url}/jobs")
    page.keyboard.press("/")
    page.keyboard.type("beach")
    expect(page.locator("#search-said")).to_have_text("5 results for beach")
    page.goto(f"{url}/hooks")
    page.locator("[data-pick]").first.check()
    page.locator("[data-removes]").click()
    expect(page.locator("#toasts[aria-live=polite] [data-toast]")).to_be_visible()


def test_the_search_is_heard_as_a_field_with_a_list_in_groups(visiting: Callable[..., Page], url: str) -> None:
    page = visiting()
    page.goto(f"{url}/jobs")
    opener = page.get_by_role("button", name="Search")
    assert opener.get_attribute("aria-haspopup") == "dialog"
    opener.click()
    page.keyboard.type("beach")
    expect(page.locator("#search-results[data-q=beach]")).to_be_visible()
    expect(page.get_by_role("dialog", name="Search everything you own")).to_match_aria_snapshot("""
        - dialog "Search everything you own":
          - search:
            - combobox "Search everything you own" [expanded]: beach
            - button "Close the search"
          - listbox "Results":
            - group "Videos 2":
              - option /Beach variant/ [selected]
              - option /Beach video/
            - group "Audios 1":
              - option /Beach audio/
    """)


def test_the_main_path_reads_as_it_is_walked(visiting: Callable[..., Page], url: str, ids: dict[str, object]) -> None:
    page = visiting()
    page.goto(f"{url}/videos")
    expect(page.locator("body")).to_match_aria_snapshot("""
        - link "Skip to the content"
        - complementary "Menu and credits":
          - navigation "Main":
            - list "Tools"
            - list "Library"
        - banner:
          - heading "Videos" [level=1]
          - button "Upload"
          - button "Search"
          - button /Queue/
        - main:
          - searchbox "Filter videos"
          - combobox "Sort by"
    """)
    page.goto(f"{url}/tools/variants?videos={ids['video']}&hooks={ids['hooks']}")
    expect(page.get_by_role("button", name="Generate 1 variant")).to_be_visible()
    expect(page.locator("main")).to_match_aria_snapshot("""
        - main:
          - region "Videos 1":
            - heading "Videos 1" [level=2]
            - button "Add videos"
            - list "Picked videos":
              - listitem:
                - button "Move Beach video with the arrow keys"
                - button "Remove Beach video"
          - region "Audios":
            - button "Add audios"
          - region "Hooks 1":
            - button "Add hooks"
    """)
    page.goto(f"{url}/batches/{ids['batch']}")
    expect(page.get_by_role("region", name="How the batch stands")).to_contain_text("3 of 3 done")
    expect(page.locator("main")).to_match_aria_snapshot("""
        - main:
          - navigation "Where you are"
          - region "How the batch stands":
            - progressbar "Progress of the batch"
            - link "Download ZIP"
            - button "Keep all"
          - navigation "Which variants"
    """)


def test_a_menu_says_whether_it_is_open(visiting: Callable[..., Page], url: str) -> None:
    page = visiting()
    page.goto(f"{url}/jobs")
    account = page.get_by_role("button", name="Your account")
    assert account.get_attribute("aria-expanded") == "false"
    account.click()
    expect(account).to_have_attribute("aria-expanded", "true")
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"{url}/jobs")
    page.get_by_role("button", name="Menu").or_(page.get_by_role("link", name="Menu")).click()
    expect(page.locator("[data-drawer-open]")).to_have_attribute("aria-expanded", "true")
    assert page.locator(".shell-page").evaluate("(behind) => behind.inert")
    page.keyboard.press("Escape")
    expect(page.locator("[data-drawer-open]")).to_be_focused()
