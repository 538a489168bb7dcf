// Choosing many things on a list: click, shift-range, Ctrl-click, Ctrl-A, all that match; and what is then done with them.
const bar = document.querySelector("[data-selection]");
const scope = () => document.getElementById("selection-scope");
let last = null;

const boxes = () => [...document.querySelectorAll("[data-pick]")];
const picked = () => boxes().filter((box) => box.checked);
const everything = () => scope()?.querySelector("[data-all]");

function show() {
  const count = picked().length;
  const total = Number(scope()?.dataset.total ?? 0);
  const all = everything();
  if (all && count < boxes().length) all.checked = false;
  document.body.classList.toggle("is-selecting", count > 0);
  bar.classList.toggle("is-shown", count > 0);
  bar.querySelector("[data-count]").textContent = `${(all?.checked ? total : count).toLocaleString("en")} selected`;
  const more = bar.querySelector("[data-select-all]");
  if (more) {
    more.hidden = all?.checked || count === 0 || count === total;
    more.textContent = `Select all ${total.toLocaleString("en")} matching`;
  }
}

function range(box) {
  const list = boxes();
  const [from, to] = [list.indexOf(last), list.indexOf(box)].sort((a, b) => a - b);
  if (from >= 0) for (const one of list.slice(from, to + 1)) one.checked = box.checked;
}

function clear() {
  for (const box of picked()) box.checked = false;
  if (everything()) everything().checked = false;
  show();
}

function pick(box, shift) {
  if (shift && last) range(box);
  last = box;
  show();
}

/** A click on a tile that is meant for its box: with a key held, or on its picture while something is selected. */
function meant(event) {
  const item = event.target.closest("[data-item]");
  const held = event.ctrlKey || event.metaKey || event.shiftKey;
  const isOnPicture = event.target.closest(".frame") && picked().length;
  return bar && (held || isOnPicture) && event.target.closest("a[href]") ? item?.querySelector("[data-pick]") : null;
}

document.addEventListener("click", (event) => {
  const box = event.target.closest("[data-pick]");
  const other = box ? null : meant(event);
  if (other) {
    event.preventDefault();
    other.checked = !other.checked;
  }
  if (box ?? other) pick(box ?? other, event.shiftKey);
  if (event.target.closest("[data-clear]")) clear();
  if (event.target.closest("[data-select-all]")) {
    for (const one of boxes()) one.checked = true;
    everything().checked = true;
    show();
  }
  const use = event.target.closest("[data-use]");
  if (use) {
    event.preventDefault();
    // With commas, as an address may only be so long.
    location.href = `${use.getAttribute("href")}?${use.dataset.use}=${picked().map((one) => one.value).join(",")}`;
  }
});

// A shift-click on a label would select text instead of a range.
document.addEventListener("mousedown", (event) => event.shiftKey && event.target.closest("label:has([data-pick]), [data-item] a") && event.preventDefault());

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches("[data-enter]")) {
    event.preventDefault();
    event.target.parentElement.querySelector("button")?.click();
  }
  if (event.key === "a" && (event.ctrlKey || event.metaKey) && bar && boxes().length && !event.target.closest("input:not([type=checkbox]), textarea, select, dialog")) {
    event.preventDefault();
    for (const box of boxes()) box.checked = true;
    show();
  }
  if (event.key === "Escape" && !event.defaultPrevented && !document.querySelector("dialog[open], details.menu[open]")) clear();
});

/** Sent in the background; the answer is the list's page, of which only the toasts (and the count) are taken. */
async function send(event) {
  const button = event.submitter;
  if (!button || button.dataset.download !== undefined || button.dataset.reloads !== undefined || everything()?.checked) return;
  event.preventDefault();
  const items = button.dataset.removes === undefined ? [] : picked().map((box) => box.closest("[data-item]"));
  let failed = true;
  bar.addEventListener("htmx:after:request", ({ detail }) => (failed = detail.ctx.response.status >= 400), { once: true });
  await htmx.ajax("POST", button.formAction, { source: bar, event, target: bar, swap: "none", selectOOB: "#toasts:beforeend,#count,#selection-scope" });
  button.closest("details")?.removeAttribute("open");
  if (failed) return;
  for (const item of items) item?.remove();
  clear();
  if (items.length && !boxes().length) location.reload(); // what comes next, or the word that nothing does
}

/** More came into the list while all of it was meant: that is selected too. */
function follow() {
  if (everything()?.checked) for (const box of boxes()) box.checked = true;
  show();
}

bar?.addEventListener("submit", send);
document.addEventListener("htmx:after:swap", () => bar && follow());
document.addEventListener("selection:show", () => bar && show());
if (bar) show();
