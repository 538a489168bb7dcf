// The asset picker: the library in a dialog. What is chosen keeps its order over searches, and the dialog opens
// again where it was left.
import { changed, idsIn, opener } from "./picks.js";

const WHOLE_MAX = 500; // as many as the server answers with
const dialog = document.getElementById("picker");
const body = document.getElementById("picker-body");
const chosen = new Set();
const left = new Map();
let column = null;
let last = null;

const results = () => document.getElementById("picker-results");
const boxes = () => [...body.querySelectorAll("[data-choose]")];

/** A column that holds one thing takes the last one that was ticked. */
const isOne = () => "one" in column.dataset;

/** What the filters say, as an address says it. */
function filters() {
  const form = document.getElementById("picker-filters");
  return form ? new URLSearchParams([...new FormData(form)].filter(([name, value]) => value && name !== "kind")) : new URLSearchParams();
}

function show() {
  const there = new Set(idsIn(column));
  const order = [...chosen];
  for (const box of boxes()) {
    box.checked = chosen.has(box.value);
    const tile = box.parentElement;
    tile.classList.toggle("is-there", there.has(box.value));
    if (box.checked && !isOne()) tile.dataset.place = order.indexOf(box.value) + 1;
    else delete tile.dataset.place;
  }
  const total = Number(results()?.dataset.total ?? 0);
  const whole = dialog.querySelector("[data-picker-whole]");
  whole.hidden = isOne() || chosen.size > 0 || total < 2;
  whole.textContent = total > WHOLE_MAX ? `Add the first ${WHOLE_MAX}` : `Add all ${total}`;
  dialog.querySelector("[data-picker-none]").hidden = !chosen.size;
  dialog.querySelector("[data-picker-count]").textContent = chosen.size ? `${chosen.size} chosen` : "";
  const add = dialog.querySelector("[data-picker-add]");
  add.textContent = isOne() ? "Choose" : chosen.size ? `Add ${chosen.size}` : "Add";
  add.setAttribute("aria-disabled", String(!chosen.size));
}

async function open(button) {
  column = button.closest("[data-picks]");
  const address = column.querySelector("[data-picker]");
  const was = left.get(column.dataset.kind);
  chosen.clear();
  last = null;
  document.getElementById("picker-title").textContent = address.dataset.pickerTitle;
  body.innerHTML = '<p class="muted">Loading …</p>';
  show();
  dialog.showModal();
  await htmx.ajax("GET", `${address.dataset.picker}${was ? `&${was.query}` : ""}`, { target: body, swap: "innerHTML" });
  show();
  body.querySelector("[name=q]")?.focus();
  if (was) body.scrollTop = was.top;
}

/** Adds what this address names, each once; a column of one thing takes the first. */
async function take(query) {
  const add = dialog.querySelector("[data-picker-add]");
  add.setAttribute("aria-busy", "true");
  const answer = await fetch(`${body.dataset.chips}?kind=${column.dataset.kind}&${query}`, { headers: { "HX-Request": "true" } }).catch(() => null);
  add.removeAttribute("aria-busy");
  if (!answer?.ok) return document.dispatchEvent(new CustomEvent("toast:say", { detail: { text: "NOVAI did not answer. Nothing was added; try again in a moment.", tone: "failed" } }));
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  const list = column.querySelector("[data-pick-list]");
  const known = new Set(idsIn(column));
  if (isOne()) list.replaceChildren();
  for (const pick of [...parsed.querySelectorAll("[data-id]")].slice(0, isOne() ? 1 : undefined)) {
    if (known.has(pick.dataset.id) && !isOne()) continue;
    pick.querySelector("input").name = column.dataset.picks;
    list.append(pick);
  }
  dialog.close();
  changed(list);
  list.scrollTop = list.scrollHeight;
  opener(column)?.focus();
}

const add = () => chosen.size && take(`ids=${[...chosen].join(",")}`);

function range(box) {
  const all = boxes();
  const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
  if (from < 0) return;
  for (const one of all.slice(from, to + 1)) chosen[box.checked ? "add" : "delete"](one.value);
}

function choose(box, isRange) {
  if (isOne() && box.checked) chosen.clear();
  if (isRange && last && !isOne()) range(box);
  else chosen[box.checked ? "add" : "delete"](box.value);
  last = box;
  show();
}

/** The box above, below or beside: of those in that direction the nearest. */
function neighbour(box, key) {
  const here = box.parentElement.getBoundingClientRect();
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  if (sideways) return boxes()[boxes().indexOf(box) + (key === "ArrowRight" ? 1 : -1)];
  const off = (each) => each.parentElement.getBoundingClientRect();
  const rows = boxes().filter((each) => (key === "ArrowDown" ? off(each).top > here.top + 4 : off(each).top < here.top - 4));
  const near = (each) => Math.abs(off(each).top - here.top) * 10 + Math.abs(off(each).left - here.left);
  return rows.sort((a, b) => near(a) - near(b))[0];
}

function press(event) {
  const box = event.target.closest("[data-choose]");
  if (event.key === "Enter" && (box || event.target.matches("[name=q]"))) {
    event.preventDefault();
    if (box && !chosen.size) chosen.add(box.value);
    add();
  } else if (box && event.key.startsWith("Arrow")) {
    event.preventDefault();
    const next = neighbour(box, event.key);
    if (next) next.focus();
    else if (event.key === "ArrowUp") body.querySelector("[name=q]").focus();
  } else if (event.key === "ArrowDown" && event.target.matches("[name=q]")) {
    event.preventDefault();
    boxes()[0]?.focus();
  } else if (box && event.key === "a" && (event.ctrlKey || event.metaKey) && !isOne()) {
    event.preventDefault();
    for (const each of boxes()) chosen.add(each.value);
    show();
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-picker], [data-picker-empty]");
  if (button) open(button);
  const box = event.target.closest("[data-choose]");
  if (box) choose(box, event.shiftKey);
  if (event.target.closest("[data-picker-none]")) {
    chosen.clear();
    show();
  }
  if (event.target.closest("[data-picker-add]")) add();
  if (event.target.closest("[data-picker-whole]")) take(`all=1&${filters()}`);
});
// A shift-click on a label would select text instead of a range, and tick only after it.
body?.addEventListener("mousedown", (event) => event.shiftKey && event.preventDefault());
body?.addEventListener("keydown", press);
dialog?.addEventListener("close", () => column && left.set(column.dataset.kind, { query: filters(), top: body.scrollTop }));
document.addEventListener("htmx:after:swap", (event) => dialog?.open && dialog.contains(event.target) && show());

// An address may ask for one more thing to be picked at once.
const now = document.querySelector("[data-pick-now]");
if (now) open(opener(now));
