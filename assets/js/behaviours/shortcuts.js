// One key, or g and one key. Nothing destructive is on a key.
import { open } from "./dialogs.js";

let afterG = -Infinity;

function typing(target) {
  return target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
}

function go(key) {
  document.querySelector(`.sidebar [data-go="${CSS.escape(key)}"]`)?.click();
}

/** j and k walk along whatever the page lists. */
function walk(step) {
  const items = [...document.querySelectorAll("[data-item]")].filter((item) => item.checkVisibility());
  const now = items.findIndex((item) => item.contains(document.activeElement));
  const item = items[Math.max(0, Math.min(items.length - 1, now + step))];
  item?.querySelector("a[href]")?.focus();
  item?.scrollIntoView({ block: "nearest" });
}

const keys = {
  "/": () => document.querySelector("[data-search]")?.focus(),
  "?": () => open("shortcuts"),
  q: () => open("queue"),
  u: () => document.querySelector("[data-upload-button]")?.click(),
  j: () => walk(1),
  k: () => walk(-1),
  x: () => document.activeElement?.closest("[data-item]")?.querySelector("[data-pick]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.key === "Escape" && event.target.matches?.("[data-search]")) event.target.blur();
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.timeStamp - afterG < 1200) {
    afterG = -Infinity;
    go(event.key);
    return;
  }
  if (event.key === "g") afterG = event.timeStamp;
  else if (keys[event.key]) {
    event.preventDefault();
    keys[event.key](event);
  }
});
