"""Every page there is, by the name of its picture: whose it is, how it is opened, and what is opened on it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from playwright.sync_api import Page, Response, expect

Whose = Literal["admin", "newcomer", "nobody"]
# Which web process shows it: the installation's own, or one beside it that has some trouble.
Where = Literal["here", "closed", "broken", "away"]

SIZES = {"1440": (1440, 900), "768": (768, 1024), "390": (390, 844)}
THEMES = ("dark", "light")
CHROMIUM = "/usr/bin/chromium"
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
# The sum of the shifts of a page that nobody has touched: what Core Web Vitals calls good.
SHIFT_MAX = 0.1
PATIENCE_MS = 60_000  # the other tests are running too
WATCH = """
    window.seen = {shift: 0, refused: []};
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.seen.shift += entry.value;
    }).observe({type: "layout-shift", buffered: true});
    document.addEventListener("securitypolicyviolation", (event) =>
      window.seen.refused.push(`${event.violatedDirective} ${event.blockedURI || event.sourceFile}`));
"""


@dataclass(frozen=True)
class Shown:
    """One page as it is looked at. `endpoint` is what serves it; `address` may speak of the gallery's things."""

    name: str
    endpoint: str
    address: str
    whose: Whose = "admin"
    status: int = 200
    where: Where = "here"
    opened: Callable[[Page], None] | None = None
    is_form: bool = False  # reached by sending what does not belong there

    @property
    def is_dialog(self) -> bool:
        return self.opened is not None


def opens(name: str) -> Callable[[Page], None]:
    """What is opened by a button of the page."""

    def open_it(page: Page) -> None:
        page.locator(f'[data-opens="{name}"]:visible').first.click()
        expect(page.locator(f"dialog#{name}")).to_be_visible(timeout=PATIENCE_MS)

    return open_it


def queue(page: Page) -> None:
    page.locator('[data-opens="queue"]').click()
    expect(page.locator("dialog#queue article").first).to_be_visible(timeout=PATIENCE_MS)


def shortcuts(page: Page) -> None:
    page.keyboard.press("?")
    expect(page.locator("dialog#shortcuts")).to_be_visible(timeout=PATIENCE_MS)


def account_menu(page: Page) -> None:
    page.locator(".avatar").click()
    expect(page.get_by_text("Sign out", exact=True)).to_be_visible(timeout=PATIENCE_MS)


def picker(page: Page) -> None:
    page.locator('[data-picks="videos"] [data-picker]').click()
    expect(page.locator("#picker-results [data-choose]").first).to_be_visible(timeout=PATIENCE_MS)


def search(page: Page) -> None:
    page.keyboard.press("/")
    expect(page.locator("#search-field")).to_be_focused(timeout=PATIENCE_MS)
    page.keyboard.type("b")
    expect(page.locator("dialog#search .hit:visible").first).to_be_visible(timeout=PATIENCE_MS)


def sidebar(page: Page) -> None:
    """A drawer on phones; elsewhere it is there already."""
    button = page.locator("[data-drawer-open]")
    if button.is_visible():
        button.click()
    expect(page.locator("#sidebar")).to_be_visible(timeout=PATIENCE_MS)


def selection(page: Page) -> None:
    for at in range(2):
        page.locator("[data-pick]").nth(at).check(force=True)
    expect(page.locator(".selection-bar")).to_be_visible(timeout=PATIENCE_MS)


def confirmed(page: Page) -> None:
    page.locator("form[data-confirm]:visible button").first.click()
    expect(page.locator("dialog#confirm")).to_be_visible(timeout=PATIENCE_MS)


PAGES = (
    Shown("dashboard", "dashboard.show", "/"),
    Shown("videos", "library.videos", "/videos"),
    Shown("videos-list", "library.videos", "/videos?view=list"),
    Shown("videos-none-fits", "library.videos", "/videos?q=nothing+like+this"),
    Shown("audios", "library.audios", "/audios"),
    Shown("images", "library.images", "/images"),
    Shown("models", "library.models", "/models"),
    Shown("models-list", "library.models", "/models?view=list"),
    Shown("video", "library.asset", "/assets/{video}"),
    Shown("variant", "library.asset", "/assets/{variant}"),
    Shown("audio", "library.asset", "/assets/{audio}"),
    Shown("image", "library.asset", "/assets/{image}"),
    Shown("model", "library.asset", "/assets/{model}"),
    Shown("hooks", "hooks.list", "/hooks"),
    Shown("collections", "collections.list", "/collections"),
    Shown("diagrams", "diagrams.list", "/diagrams"),
    Shown("consents", "consents.list", "/consents"),
    Shown("consent", "consents.show", "/consents/{consent}"),
    Shown("trash", "trash.list", "/trash"),
    Shown("variant-generator", "tools.show", "/tools/variants"),
    Shown("variant-generator-picked", "tools.show", "/tools/variants?videos={videos}&audios={audio}&hooks={hooks}"),
    Shown("lora-creator", "tools.show", "/tools/lora-trainer"),
    Shown("lora-image", "tools.show", "/tools/lora-image?models={model}"),
    Shown("character-diagrams", "tools.show", "/tools/character-diagram?images={image}"),
    Shown("ai-swapper", "tools.show", "/tools/face-swap?videos={video}"),
    Shown("batches", "batches.list", "/batches"),
    Shown("batch", "batches.show", "/batches/{batch}"),
    Shown("jobs", "jobs.list", "/jobs"),
    Shown("job", "jobs.show", "/jobs/{job}"),
    Shown("job-failed", "jobs.show", "/jobs/{failed}"),
    Shown("job-waiting", "jobs.show", "/jobs/{waiting}"),
    Shown("search", "search.show", "/search?q=b"),
    Shown("samples", "samples.wait", "/samples"),
    Shown("credits", "credits.show", "/credits"),
    Shown("credits-held", "credits.show", "/credits?show=held"),
    Shown("settings", "accounts.settings", "/settings"),
    Shown("admin-state", "state.show", "/admin/state"),
    Shown("admin-credits", "admin.credits", "/admin/credits?sort=-credits"),
    Shown("admin-nobody-fits", "admin.credits", "/admin/credits?q=nobody+at+all"),
    Shown("admin-person", "admin.account", "/admin/credits/{person}"),
    Shown("admin-vendors", "vendors.list", "/admin/vendors"),
    Shown("admin-prices", "prices.list", "/admin/prices"),
    Shown("admin-bills", "vendors.bills", "/admin/vendors/bills"),
    Shown("api-docs", "api_docs.page", "/api/docs"),
)

# While it runs it is looked at first: it does not run for ever.
RUNNING = (
    Shown("batch-running", "batches.show", "/batches/{running}"),
    Shown("dashboard-running", "dashboard.show", "/"),
    Shown("queue-drawer-running", "jobs.list", "/jobs", opened=queue),
)

DIALOGS = (
    Shown("queue-drawer", "dashboard.show", "/", opened=queue),
    Shown("search-dialog", "library.videos", "/videos", opened=search),
    Shown("shortcuts", "library.audios", "/audios", opened=shortcuts),
    Shown("account-menu", "dashboard.show", "/", opened=account_menu),
    Shown("sidebar", "dashboard.show", "/", opened=sidebar),
    Shown("asset-picker", "tools.show", "/tools/variants", opened=picker),
    Shown("consent-dialog", "tools.show", "/tools/face-swap?videos={video}", opened=opens("new-consent")),
    Shown("add-hooks", "hooks.list", "/hooks", opened=opens("add")),
    Shown("selection-bar", "library.videos", "/videos", opened=selection),
    Shown("confirmation", "trash.list", "/trash", opened=confirmed),
)

# Where nothing is yet, each page says what to do next.
EMPTY = tuple(
    Shown(f"empty-{name}", endpoint, address, whose="newcomer")
    for name, endpoint, address in (
        ("dashboard", "dashboard.show", "/"),
        ("videos", "library.videos", "/videos"),
        ("audios", "library.audios", "/audios"),
        ("images", "library.images", "/images"),
        ("models", "library.models", "/models"),
        ("hooks", "hooks.list", "/hooks"),
        ("collections", "collections.list", "/collections"),
        ("diagrams", "diagrams.list", "/diagrams"),
        ("consents", "consents.list", "/consents"),
        ("trash", "trash.list", "/trash"),
        ("batches", "batches.list", "/batches"),
        ("jobs", "jobs.list", "/jobs"),
        ("credits", "credits.show", "/credits"),
        ("variant-generator", "tools.show", "/tools/variants"),
    )
)

OUTSIDE = (
    Shown("sign-in", "accounts.sign_in", "/sign-in", whose="nobody"),
    Shown("sign-up", "accounts.sign_up", "/sign-up", whose="nobody"),
)

# Before anybody has an account; then never again.
FIRST = Shown("first-run", "accounts.setup", "/setup", whose="nobody")

ERRORS = (
    Shown("error-404", "", "/assets/999999", status=404),
    Shown("error-404-outside", "", "/nothing", whose="nobody", status=404),
    Shown("error-403", "accounts.sign_up", "/sign-up", whose="nobody", status=403, where="closed"),
    Shown("error-413", "", "/settings", status=413, is_form=True),
    Shown("error-429", "", "/sign-in", whose="nobody", status=429, where="closed", is_form=True),
    Shown("error-500", "", "/", whose="nobody", status=500, where="broken"),
    Shown("error-503", "", "/", whose="nobody", status=503, where="away"),
)

ALL = (*OUTSIDE, *PAGES, *DIALOGS, *EMPTY, *ERRORS)

# What a browser asks for beside pages: pieces of them, files, and answers for machines.
NO_PAGES = {
    "static", "favicon", "health.health", "health.ready", "health.measured",
    "variants.frame", "jobs.cards", "jobs.queue", "batches.cards", "batches.live", "batches.zip", "library.tiles",
    "library.picker", "library.chips", "hooks.csv", "consents.csv", "samples.state", "credits.csv", "admin.csv",
    "admin.people_csv", "state.now", "state.alarm", "state.look_up", "vendors.bills_csv", "prices.csv",
    "search.results", "media.part",
}  # fmt: skip
LARGE_BYTES = 5_000_000


def visit(page: Page, shown: Shown, url: str, ids: Mapping[str, object]) -> int:
    """Go there, open what is to be opened, and wait until nothing is on its way. The status of the page."""
    there = url + shown.address.format_map(ids)
    page.set_default_timeout(PATIENCE_MS)
    answer = page.goto(there, wait_until="load")
    if shown.is_form:
        answer = _send(page, shown)
    assert answer is not None, there
    page.wait_for_load_state("networkidle")
    if shown.opened:
        shown.opened(page)
        page.wait_for_load_state("networkidle")
    return answer.status


def _send(page: Page, shown: Shown) -> Response:
    """What is too large, or what is sent too often."""
    for _ in range(20):
        with page.expect_navigation() as navigation:
            page.evaluate(SEND, LARGE_BYTES if shown.status == 413 else 10)
        if navigation.value.status == shown.status:
            break
    return navigation.value


SEND = """(length) => {
    const form = document.querySelector("main form[method=post]");
    for (const field of form.elements) field.removeAttribute("required");
    const more = Object.assign(document.createElement("textarea"), {name: "more", value: "x".repeat(length)});
    form.append(more);
    HTMLFormElement.prototype.submit.call(form);
}"""
