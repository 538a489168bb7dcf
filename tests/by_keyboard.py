"""Somebody who has a keyboard and nothing else: every step is a key, and where the focus is must be seen."""

import re

from playwright.sync_api import Page

STOPS_MAX = 250
FADE_MS = 500
# What has the focus: its name as people know it, and whether they can see that it has it.
FOCUSED = """() => {
  const here = document.activeElement;
  const nowhere = { name: "", tag: "BODY", id: "", isSeen: false, isInView: false, html: "" };
  if (!here || here === document.body) return nowhere;
  const label = here.labels?.[0]?.textContent ?? "";
  const ids = (here.getAttribute("aria-labelledby") ?? "").split(" ");
  const by = ids.map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
  const name = here.getAttribute("aria-label") || by.trim() || label || here.textContent || here.title || "";
  const shows = (element) => {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) return false;
    const style = getComputedStyle(element);
    return (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1) || style.boxShadow !== "none";
  };
  const box = here.getBoundingClientRect();
  const around = [here, here.parentElement, here.closest("label"), here.closest("form")].filter(Boolean);
  return {
    name: name.replace(/\\s+/g, " ").trim(),
    tag: here.tagName,
    id: here.id,
    isSeen: around.some(shows),
    isInView: box.bottom > 0 && box.top < innerHeight,
    html: here.outerHTML.slice(0, 160),
  };
}"""


class Keyboard:
    """Counts its keys."""

    def __init__(self, page: Page) -> None:
        self.page, self.pressed = page, 0

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
            self.pressed += 1

    def go(self, *keys: str) -> None:
        """Keys that lead to another page."""
        with self.page.expect_navigation(wait_until="networkidle"):
            self.press(*keys)

    def write(self, text: str) -> None:
        self.page.keyboard.type(text)
        self.pressed += len(text)

    def focused(self) -> dict[str, object]:
        found: dict[str, object] = self.page.evaluate(FOCUSED)
        return found

    def tab_to(self, name: str, *, back: bool = False) -> None:
        """Tab until what has the focus is called so (a regular expression). Every stop on the way must be seen."""
        been: list[str] = []
        for _ in range(STOPS_MAX):
            self.press("Shift+Tab" if back else "Tab")
            here = self.focused()
            if not here["isSeen"]:
                self.page.wait_for_timeout(FADE_MS)  # it is being faded in
                here = self.focused()
            been.append(str(here["name"]) or str(here["html"]))
            if here["tag"] != "BODY":
                assert here["isSeen"], f"nothing shows that this has the focus: {here['html']}"
                assert here["isInView"], f"the focus is where nobody sees it: {here['html']}"
            if re.search(name, str(here["name"])):
                return
        raise AssertionError(f"no way to {name!r} among {been}")
