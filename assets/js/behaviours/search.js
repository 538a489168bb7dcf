// The search that opens on every page: a field whose arrow keys walk along the results while it keeps the focus.
import { remember } from "./remember.js";

const dialog = document.getElementById("search");
const field = document.getElementById("search-field");
const me = document.querySelector("[data-me]")?.dataset.me;
const store = `seen-${me}`;
const SEEN_MAX = 6;

const options = () => [...(dialog?.querySelectorAll('[role="option"]') ?? [])];
let isAsked = false; // what is typed has not been answered yet
let isEntered = false; // and Enter was pressed meanwhile: the first result is opened when it comes
const active = () => document.getElementById(field.getAttribute("aria-activedescendant") ?? "");

function choose(option) {
  for (const each of options()) each.setAttribute("aria-selected", String(each === option));
  if (option) field.setAttribute("aria-activedescendant", option.id);
  else field.removeAttribute("aria-activedescendant");
  option?.scrollIntoView({ block: "nearest" });
}

function step(by) {
  const all = options();
  const now = all.indexOf(active());
  const next = now < 0 ? (by > 0 ? 0 : all.length - 1) : (now + by + all.length) % all.length;
  choose(all[next]);
}

/** What was looked at on this device, newest first. */
function seen() {
  try {
    return JSON.parse(localStorage.getItem(store) ?? "[]");
  } catch {
    return [];
  }
}

function note() {
  if (!me || document.querySelector(".error-page")) return;
  const title = document.querySelector(".crumbs > :last-child, .topbar-title h1")?.textContent.trim();
  const under = document.querySelector(".crumbs a")?.textContent.trim() ?? "";
  const path = location.pathname;
  if (!title || path === "/" || path === "/search") return;
  const rest = seen().filter((page) => page.path !== path);
  remember(store, JSON.stringify([{ path, title, under }, ...rest].slice(0, SEEN_MAX + 1)));
}

function showSeen(group) {
  const pages = seen().filter((page) => page.path !== location.pathname).slice(0, SEEN_MAX);
  for (const [number, { path, title, under }] of pages.entries()) {
    const option = group.querySelector("template").content.firstElementChild.cloneNode(true);
    option.id = `seen-${number}`;
    option.href = path;
    option.querySelector("[data-title]").textContent = title;
    option.querySelector("[data-under]").textContent = under ?? "";
    group.append(option);
    group.hidden = false;
  }
}

function shown() {
  const list = document.getElementById("search-results");
  if (!list) return;
  const group = list.querySelector("[data-recent]");
  if (group) showSeen(group);
  field.setAttribute("aria-expanded", String(options().length > 0));
  choose(list.dataset.q ? options()[0] : null);
  isAsked = list.dataset.q !== field.value.trim().split(/\s+/).join(" "); // as the server writes it
  if (!isAsked && isEntered) active()?.click();
  isEntered &&= isAsked;
  const count = Number(list.dataset.total);
  const words = count === 1 ? "1 result" : count ? `${count.toLocaleString("en")} results` : "Nothing found";
  document.getElementById("search-said").textContent = list.dataset.q ? `${words} for ${list.dataset.q}` : "";
}

function address() {
  const link = dialog.querySelector("[data-search-page]");
  link.search = field.value.trim() ? `?${new URLSearchParams({ q: field.value.trim() })}` : "";
}

field?.addEventListener("keydown", (event) => {
  const moves = { ArrowDown: 1, ArrowUp: -1 };
  if (event.isComposing) return;
  if (moves[event.key]) {
    event.preventDefault();
    if (options().length) step(moves[event.key]);
  }
  if (event.key === "Enter" && isAsked) {
    event.preventDefault();
    isEntered = true;
  } else if (event.key === "Enter" && active()) {
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) window.open(active().href);
    else active().click();
  }
  // The first Escape empties the field, the next one closes, as in any field of this kind.
  if (event.key === "Escape" && field.value) {
    event.preventDefault();
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }
});
field?.addEventListener("input", address);
field?.addEventListener("input", () => {
  choose(null); // what was chosen is no answer to this
  isAsked = true;
  isEntered = false;
});
field?.addEventListener("focus", () => field.select()); // what was looked for last is typed over, or gone on with
dialog?.addEventListener("htmx:after:swap", shown);
dialog?.addEventListener("htmx:error", () => {
  isAsked = isEntered = false;
  document.getElementById("search-found").innerHTML = '<p class="search-none muted">NOVAI did not answer. Type on, or try again in a moment.</p>';
});
addEventListener("pagehide", () => dialog?.close()); // whoever comes back finds the page
// A place on this very page: there is nothing to load.
dialog?.addEventListener("click", (event) => {
  const hit = event.target.closest(".hit");
  if (hit && hit.pathname === location.pathname && hit.search === location.search) dialog.close();
});
note();

// Signing out leaves nothing behind of what was looked at.
document.addEventListener("submit", (event) => {
  if (event.target.matches("[data-forgets]")) remember(store, null);
});
