// The asset picker: the library in a dialog; what is chosen there keeps its order over searches.
import { changed, idsIn } from "./picks.js";

const dialog = document.getElementById("picker");
const body = document.getElementById("picker-body");
const chosen = new Set();
let column = null;

const results = () => document.getElementById("picker-results");

function show() {
  for (const box of body.querySelectorAll("[data-choose]")) box.checked = chosen.has(box.value);
  const whole = dialog.querySelector("[data-picker-whole]");
  whole.hidden = isOne() || !results()?.dataset.whole;
  whole.textContent = `Add all ${results()?.dataset.total ?? ""}`;
  dialog.querySelector("[data-picker-count]").textContent = chosen.size ? `${chosen.size} chosen` : "";
  const add = dialog.querySelector("[data-picker-add]");
  add.textContent = chosen.size ? `Add ${chosen.size}` : "Add";
  add.setAttribute("aria-disabled", String(!chosen.size));
}

/** A column that holds one thing takes the last one that was ticked. */
const isOne = () => "one" in column.dataset;

function open(button) {
  column = button.closest("[data-picks]");
  chosen.clear();
  document.getElementById("picker-title").textContent = button.dataset.pickerTitle;
  body.innerHTML = '<p class="muted">Loading …</p>';
  dialog.showModal();
  htmx.ajax("GET", button.dataset.picker, { target: body, swap: "innerHTML" });
}

async function take(query) {
  const url = `${body.dataset.chips}?kind=${column.dataset.kind}&${query}`;
  const answer = await fetch(url, { headers: { "HX-Request": "true" } });
  if (!answer.ok) return;
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
}

let last = null;

function range(box) {
  const boxes = [...body.querySelectorAll("[data-choose]")];
  const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
  if (from < 0) return;
  for (const one of boxes.slice(from, to + 1)) chosen[box.checked ? "add" : "delete"](one.value);
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-picker]");
  if (opener) open(opener);
  const box = event.target.closest("[data-choose]");
  if (box) {
    if (isOne() && box.checked) chosen.clear();
    if (event.shiftKey && last && !isOne()) range(box);
    else chosen[box.checked ? "add" : "delete"](box.value);
    last = box;
    show();
  }
  if (event.target.closest("[data-picker-add]") && chosen.size) take(`ids=${[...chosen].join(",")}`);
  if (event.target.closest("[data-picker-whole]")) take(results().dataset.whole);
});
document.addEventListener("htmx:after:swap", (event) => dialog?.open && dialog.contains(event.target) && show());
