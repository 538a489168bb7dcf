"""Pages that keep still and are light: nothing moves while a batch is made, and the dashboard is soon there."""

import pytest
from playwright.sync_api import Browser, Page, expect

from tests import media
from tests.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DESK, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
CLIPS = 4
SHIFT_MAX = 0.01
DASHBOARD_BYTES_MAX = 150_000
PATIENCE_MS = 60_000

# What moves without anybody having pressed anything, from the first paint on; each with what it was.
WATCH = """
    window.moved = [];
    new PerformanceObserver((list) => {
        for (const shift of list.getEntries()) {
            if (shift.hadRecentInput) continue;
            const what = shift.sources.map((one) => one.node?.outerHTML?.slice(0, 80) ?? one.node?.textContent);
            window.moved.push([shift.value, what.join(" | ")]);
        }
    }).observe({ type: "layout-shift", buffered: true });
"""


@pytest.fixture(scope="module")
def signed_in(
    installation: Installation, browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, object]:
    """Ada, with a few clips and hooks."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(installation.url)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill("ada@example.com")
    page.get_by_label("Password").fill("correct horse battery")
    page.locator("main form button").first.click()
    folder = tmp_path_factory.mktemp("clips")
    clips = [media.b_frames(folder / f"Clip {n}.mp4", frames=40 + 5 * n) for n in range(CLIPS)]
    page.goto(f"{installation.url}/videos")
    page.locator("#upload-files").set_input_files([str(clip) for clip in clips])
    expect(page.locator(".tile .frame-time")).to_have_count(CLIPS, timeout=PATIENCE_MS)
    page.goto(f"{installation.url}/hooks")
    page.locator("[data-opens=add]").first.click()
    page.locator("dialog textarea").fill("Wait for it\nNobody says this\nSave this\nAnd this")
    page.locator("dialog").get_by_role("button", name="Add hooks").click()
    expect(page.locator("#count")).to_have_text("4")
    state = page.context.storage_state()
    page.context.close()
    return dict(state)


def opened(browser: Browser, state: dict[str, object], url: str, viewport: dict[str, int] = DESK) -> Page:
    context = browser.new_context(viewport=viewport, storage_state=state)  # type: ignore[arg-type]
    context.add_init_script(WATCH)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    return page


def test_nothing_moves_while_a_batch_is_made(
    installation: Installation, browser: Browser, signed_in: dict[str, object]
) -> None:
    page = opened(browser, signed_in, f"{installation.url}/tools/variants")
    for field in ("videos", "hooks"):
        page.locator(f"[data-picks={field}] [data-picker]").click()
        page.locator("[data-picker-whole]").click()
        expect(page.locator(f"[data-picks={field}] .pick")).to_have_count(4)
    page.get_by_text("Every combination", exact=True).click()
    expect(page.locator("#quote strong")).to_have_text("16 variants")
    page.locator("#quote button").click()
    page.wait_for_url("**/batches/*")
    watching = {
        "the batch": page,
        "the batch on a phone": opened(browser, signed_in, page.url, PHONE),
        "the jobs": opened(browser, signed_in, f"{installation.url}/jobs"),
        "the batches": opened(browser, signed_in, f"{installation.url}/batches", PHONE),
        "the dashboard": opened(browser, signed_in, installation.url),
    }
    for each in watching.values():
        expect(each.locator("[data-live][data-outcome]")).to_have_count(0, timeout=180_000)
    expect(page.locator(".cell[data-state=done]")).to_have_count(16)
    for name, each in watching.items():
        each.wait_for_timeout(300)
        moved = each.evaluate("window.moved")
        assert sum(value for value, _ in moved) < SHIFT_MAX, (name, moved)
        each.context.close()


def test_the_first_visit_of_the_dashboard_is_light(
    installation: Installation, browser: Browser, signed_in: dict[str, object]
) -> None:
    context = browser.new_context(viewport=DESK, storage_state=signed_in)  # type: ignore[arg-type]
    page = context.new_page()
    wire = context.new_cdp_session(page)
    kinds: dict[str, str] = {}
    sizes: dict[str, int] = {}
    wire.on("Network.responseReceived", lambda said: kinds.update({said["requestId"]: said["type"]}))
    wire.on("Network.loadingFinished", lambda said: sizes.update({said["requestId"]: said["encodedDataLength"]}))
    wire.send("Network.enable")
    page.goto(installation.url, wait_until="networkidle")
    weighed = {request: size for request, size in sizes.items() if kinds.get(request) not in ("Image", "Media")}
    assert len(weighed) >= 4, "the page, its style and its scripts"
    assert sum(weighed.values()) < DASHBOARD_BYTES_MAX, weighed
    context.close()
