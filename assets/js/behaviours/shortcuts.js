// One key, or g and one key. None deletes anything, and none works while somebody types.
import { open } from "./dialogs.js";

const G_MS = 1500;
let afterG = -Infinity;
let undo = null;

function typing(target) {
  return target.closest?.("input:not([type=checkbox], [type=radio], [type=range], [type=button]), textarea, select, [contenteditable]");
}

function go(key) {
  const link = document.querySelector(`[data-go="${CSS.escape(key)}"]`);
  link?.click();
  return link;
}

/** j and k walk along whatever the page lists. */
function walk(step) {
  const items = [...document.querySelectorAll("[data-item]")].filter((item) => item.checkVisibility());
  const now = items.findIndex((item) => item.contains(document.activeElement));
  const item = items[Math.max(0, Math.min(items.length - 1, now + step))];
  item?.querySelector("a[href], button, input:not([type=hidden])")?.focus();
  if (!item?.contains(document.activeElement)) item?.focus();
  item?.scrollIntoView({ block: "nearest" });
}

/** Asks for files where there are some to be sent, and goes to the videos from elsewhere. */
function upload() {
  const files = document.getElementById("upload-files");
  if (files) files.click();
  else document.querySelector('[data-go="v"]')?.click();
}

function filter() {
  const field = document.querySelector("[data-filter]");
  field?.focus();
  field?.select();
}

/** The newest Undo, also when its toast has gone: it can be done for longer than it is shown. */
function takeBack() {
  const shown = [...document.querySelectorAll("[data-toast] [data-undo], [data-toast] form button")].at(-1);
  if (shown) shown.click();
  else if (undo && !undo.isConnected) {
    undo.hidden = true;
    document.body.append(undo);
    undo.requestSubmit();
  }
  undo = null;
}

function see() {
  undo = [...document.querySelectorAll("[data-toast] form")].at(-1) ?? undo;
}
new MutationObserver(see).observe(document.getElementById("toasts"), { childList: true, subtree: true });
see();

const keys = {
  "/": () => (location.pathname === "/search" ? filter() : open("search")),
  "?": () => open("shortcuts"),
  q: () => open("queue"),
  u: upload,
  f: filter,
  z: takeBack,
  j: () => walk(1),
  k: () => walk(-1),
  x: () => document.activeElement?.closest("[data-item]")?.querySelector("[data-pick]")?.click(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || event.isComposing) return;
  if (event.key === "Escape" && event.target.matches?.("[data-filter]")) event.target.blur();
  if (typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.timeStamp - afterG < G_MS) {
    afterG = -Infinity;
    if (go(event.key)) event.preventDefault();
    return;
  }
  if (event.key === "g") afterG = event.timeStamp;
  else if (keys[event.key] && (!event.repeat || "jk".includes(event.key))) {
    event.preventDefault();
    keys[event.key]();
  }
});
