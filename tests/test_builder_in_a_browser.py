"""The variant builder and the page of a batch as hands use them: picking, order, presets, undo, approving, the end."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests import media
from tests.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
CLIPS = ["Beach", "Market", "Rooftop"]
HOOKS = ["Wait for it", "Nobody says this", "Save this for later"]
PATIENCE_MS = 60_000

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def signed_in(
    installation: Installation, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """Ada, with three clips and three hooks."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(installation.url)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.locator("main form button").first.click()
    folder = tmp_path_factory.mktemp("clips")
    clips = [media.b_frames(folder / f"{name}.mp4", frames=40 + 5 * n) for n, name in enumerate(CLIPS)]
    page.goto(f"{installation.url}/videos")
    page.locator("#upload-files").set_input_files([str(clip) for clip in clips])
    expect(page.locator(".tile .frame-time")).to_have_count(3, timeout=PATIENCE_MS)
    page.goto(f"{installation.url}/hooks")
    page.locator("[data-opens=add]").first.click()
    page.locator("dialog textarea").fill("\n".join(HOOKS))
    page.locator("dialog").get_by_role("button", name="Add hooks").click()
    expect(page.locator("#count")).to_have_text("3")
    state = page.context.storage_state()
    page.context.close()
    return dict(state)


@pytest.fixture
def visit(installation: Installation, browser: Browser, signed_in: dict[str, object]) -> Iterator[Visit]:
    opened: list[BrowserContext] = []

    def open_page(address: str, viewport: dict[str, int] = DESK, **more: object) -> Page:
        context = browser.new_context(viewport=viewport, storage_state=signed_in, **more)  # type: ignore[arg-type]
        opened.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(installation.url + address)
        return page

    yield open_page
    for context in opened:
        context.close()


def names(page: Page, field: str) -> list[str]:
    picks = page.locator(f"[data-picks={field}] .pick")
    return [pick.get_attribute("data-name") or "" for pick in picks.all()]


def pick_all(page: Page, field: str) -> None:
    page.locator(f"[data-picks={field}] [data-picker]").click()
    page.locator("[data-picker-whole]").click()
    expect(page.locator(f"[data-picks={field}] .pick")).to_have_count(3)


def quoted(page: Page) -> str:
    return page.locator("#quote strong").inner_text()


def undo(page: Page) -> None:
    page.locator("[data-toast] [data-undo]").last.click()


def test_all_that_the_picker_shows_is_added_with_one_press_and_taken_away_with_undo(visit: Visit) -> None:
    page = visit("/tools/variants")
    pick_all(page, "videos")
    whole = names(page, "videos")
    assert sorted(whole) == CLIPS
    page.locator("[data-picks=videos] .pick").nth(1).hover()
    page.locator("[data-picks=videos] [data-pick-remove]").nth(1).click()
    assert names(page, "videos") == [whole[0], whole[2]]
    undo(page)
    assert names(page, "videos") == whole
    page.locator("[data-picks=videos] [data-picks-clear]").click()
    assert names(page, "videos") == []
    expect(page.locator("[data-picks=videos] [data-picker]")).to_be_focused()
    undo(page)
    assert names(page, "videos") == whole
    expect(page.locator("#quote strong")).to_have_text("3 variants")


def test_the_order_is_changed_with_the_arrow_keys_and_by_dragging(visit: Visit) -> None:
    page = visit("/tools/variants")
    pick_all(page, "hooks")
    first, second, third = names(page, "hooks")
    page.locator("[data-picks=hooks] [data-grip]").first.focus()
    page.keyboard.press("ArrowDown")
    assert names(page, "hooks") == [second, first, third]
    expect(page.locator("#announcer")).to_have_text(f"{first} is number 2 of 3.")
    page.keyboard.press("End")
    assert names(page, "hooks") == [second, third, first]
    grip = page.locator("[data-picks=hooks] [data-grip]").last.bounding_box()
    top = page.locator("[data-picks=hooks] .pick").first.bounding_box()
    assert grip and top
    page.mouse.move(grip["x"] + 5, grip["y"] + 5)
    page.mouse.down()
    page.mouse.move(grip["x"] + 5, top["y"] + 20, steps=8)
    page.mouse.move(grip["x"] + 5, top["y"] + 3, steps=4)
    page.mouse.up()
    assert names(page, "hooks") == [first, second, third]


def test_the_picker_is_used_with_the_keyboard_and_opens_again_where_it_was_left(visit: Visit) -> None:
    page = visit("/tools/variants")
    page.locator("[data-picks=videos] [data-picker]").focus()
    page.keyboard.press("Enter")
    expect(page.locator("[data-choose]")).to_have_count(3)
    expect(page.locator("#picker [name=q]")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(page.locator("[data-picker-count]")).to_have_text("2 chosen")
    assert [tile.get_attribute("data-place") for tile in page.locator(".picker-tile").all()] == ["2", "1", None]
    page.keyboard.press("Enter")
    expect(page.locator("#picker")).to_be_hidden()
    expect(page.locator("[data-picks=videos] [data-picker]")).to_be_focused()
    assert len(names(page, "videos")) == 2
    page.keyboard.press("Enter")
    page.locator("#picker [name=q]").fill("market")
    expect(page.locator("[data-choose]")).to_have_count(1)
    page.locator("#picker [data-closes]").click()
    page.locator("[data-picks=videos] [data-picker]").click()
    expect(page.locator("#picker [name=q]")).to_have_value("market")
    expect(page.locator("[data-choose]")).to_have_count(1)


def test_a_preset_is_applied_deleted_and_both_are_taken_back(visit: Visit) -> None:
    page = visit("/tools/variants")
    size = page.locator("[name=hook_size]")
    default = size.input_value()
    size.fill("12")
    page.get_by_role("button", name="Save as preset").click()
    page.locator("[name=preset_name]").fill("Large")
    page.keyboard.press("Enter")
    expect(page.locator(".preset-apply")).to_have_text("Large")
    size.fill(default)
    page.locator(".preset-apply").click()
    assert size.input_value() == "12"
    undo(page)
    assert size.input_value() == default
    page.locator(".preset-delete").click()
    expect(page.locator(".preset-apply")).to_have_count(0)
    undo(page)
    expect(page.locator(".preset-apply")).to_have_text("Large")


def test_an_unticked_variant_is_not_made_and_all_are_ticked_again_with_one_press(visit: Visit) -> None:
    page = visit("/tools/variants")
    pick_all(page, "videos")
    page.locator("#cells-fold summary").click()
    page.locator("[data-cell]").nth(1).uncheck()
    expect(page.locator("#quote strong")).to_have_text("2 variants")
    expect(page.get_by_text("2 of 3 ticked")).to_be_visible()
    page.locator("[data-cells-all]").click()
    expect(page.locator("#quote strong")).to_have_text("3 variants")
    undo(page)
    expect(page.locator("#quote strong")).to_have_text("2 variants")


def test_what_is_wrong_is_shown_and_has_the_focus_also_in_a_folded_panel(visit: Visit) -> None:
    page = visit("/tools/variants", PHONE)
    pick_all(page, "videos")
    fold = page.locator("#mix-fold")
    assert fold.get_attribute("open") is None  # on a phone
    fold.locator("summary").click()
    page.locator("[name=name_template]").fill("{nothing}")
    expect(page.locator("#quote p")).to_contain_text("{nothing}")
    fold.locator("summary").click()
    page.locator("#quote button").click()
    field = page.locator("[name=name_template]")
    expect(field).to_be_focused()
    expect(field).to_have_value("{nothing}")
    expect(field).to_be_in_viewport()
    assert len(names(page, "videos")) == 3


def test_a_folded_panel_says_what_is_set_in_it(visit: Visit) -> None:
    page = visit("/tools/variants")
    says = page.locator("#sound-fold [data-says]")
    expect(says).to_contain_text("Replace")
    page.locator("#sound-fold summary").click()
    page.get_by_text("Keep original").click()
    page.locator("#sound-fold summary").click()
    expect(says).to_contain_text("Keep original")


def make_a_batch(page: Page) -> None:
    pick_all(page, "videos")
    pick_all(page, "hooks")
    expect(page.locator("#quote strong")).to_have_text("3 variants")
    page.locator("#quote button").click()
    page.wait_for_url("**/batches/*")


# A browser whose owner says yes when asked, and that can be looked away from.
WILLING = """
    window.told = [];
    window.Notification = class {
        static permission = "default";
        static async requestPermission() { return (this.permission = "granted"); }
        constructor(title, given) { window.told.push(given.body); }
    };
    Object.defineProperty(document, "hidden", { get: () => window.isAway === true });
"""


def test_the_browser_tells_of_the_end_only_whoever_switched_that_on(visit: Visit) -> None:
    page = visit("/tools/variants")
    page.context.add_init_script(WILLING)
    make_a_batch(page)
    switch = page.locator("[data-notify]")
    assert not switch.is_checked()  # nothing is asked for by itself
    assert page.evaluate("Notification.permission") == "default"
    switch.check()
    page.evaluate("window.isAway = true; document.dispatchEvent(new Event('live:hurry'))")
    expect(page.locator(".batch-head[data-live]")).to_have_count(0, timeout=120_000)
    assert page.evaluate("window.told")[0].endswith("3 of 3 done.")
    assert not page.title().startswith("(")


def test_variants_are_approved_with_a_thumb_and_what_was_thrown_away_comes_back(visit: Visit) -> None:
    newest = visit("/batches").locator("article.job h2 a").first.get_attribute("href")
    page = visit(newest or "", PHONE, has_touch=True, is_mobile=True)
    expect(page.locator(".cell[data-state=done]")).to_have_count(3, timeout=120_000)
    keep = page.get_by_role("button", name="Keep variant 1")
    throw = page.get_by_role("button", name="Throw variant 2 away")
    for button in (keep, throw):
        box = button.bounding_box()
        assert box and box["height"] >= 44 and box["width"] >= 44
    keep.tap()
    expect(page.locator(".cell").first.get_by_text("Kept")).to_be_visible()
    throw.tap()
    expect(page.locator(".cell").nth(1)).to_have_attribute("data-state", "trashed")
    expect(page.locator(".batch-head")).to_contain_text("1 thrown away")
    page.get_by_role("button", name="Restore variant 2").tap()
    expect(page.locator(".cell").nth(1)).to_have_attribute("data-state", "done")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_many_variants_are_selected_and_thrown_away_together(visit: Visit) -> None:
    newest = visit("/batches").locator("article.job h2 a").first.get_attribute("href")
    page = visit(newest or "")
    page.locator("[data-pick]").first.check()
    page.locator("[data-pick]").last.click(modifiers=["Shift"])
    expect(page.locator(".selection-count")).to_have_text("3 selected")
    page.locator(".selection-bar").get_by_role("button", name="Throw away").click()
    expect(page.locator(".cell[data-state=trashed]")).to_have_count(3)
    expect(page.locator(".selection-bar")).to_be_hidden()
    page.locator("[data-toast]").get_by_role("button", name="Undo").last.click()
    expect(page.locator(".cell[data-state=trashed]")).to_have_count(0)


def test_other_clips_get_the_same_settings_sounds_and_hooks(visit: Visit) -> None:
    newest = visit("/batches").locator("article.job h2 a").first.get_attribute("href")
    page = visit(newest or "")
    page.get_by_role("link", name="Other clips").click()
    expect(page.locator("#picker")).to_be_visible()
    expect(page.locator("[data-choose]")).to_have_count(3)
    page.locator("[data-choose]").first.check()
    page.locator("[data-picker-add]").click()
    expect(page.locator("[data-picks=videos] .pick")).to_have_count(1)
    assert len(names(page, "hooks")) == 3
    expect(page.locator("#quote strong")).to_have_text("3 variants")
