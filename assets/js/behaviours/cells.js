// Unticking a variant leaves it out: its key travels with the form. "Tick all" is taken back like anything else.
const left = document.getElementById("without");

function leaveOut(key) {
  if (!left.querySelector(`[value="${CSS.escape(key)}"]`)) left.append(Object.assign(document.createElement("input"), { type: "hidden", name: "without", value: key }));
}

/** The boxes as the form says it: one that was pressed no longer follows what the server draws. */
function show() {
  const out = new Set([...left.children].map((each) => each.value));
  for (const box of document.querySelectorAll("[data-cell]")) box.checked = !out.has(box.dataset.cell);
}

function again() {
  left.closest("form").dispatchEvent(new Event("change", { bubbles: true }));
}

document.addEventListener("change", (event) => {
  const box = event.target.closest?.("[data-cell]");
  if (!box) return;
  if (box.checked) left.querySelector(`[value="${CSS.escape(box.dataset.cell)}"]`)?.remove();
  else leaveOut(box.dataset.cell);
});

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-cells-all]")) return;
  const keys = [...left.children].map((each) => each.value);
  left.replaceChildren();
  show();
  again();
  const undo = () => {
    keys.forEach(leaveOut);
    show();
    again();
  };
  document.dispatchEvent(new CustomEvent("toast:say", { detail: { text: "Every variant is ticked again.", tone: "info", undo } }));
});

// A range of rows with shift, as in every list.
let last = null;
document.addEventListener("click", (event) => {
  const box = event.target.closest("[data-cell]");
  if (!box) return;
  const boxes = [...document.querySelectorAll("[data-cell]")];
  const [from, to] = [boxes.indexOf(last), boxes.indexOf(box)].sort((a, b) => a - b);
  if (event.shiftKey && from >= 0) {
    for (const one of boxes.slice(from, to + 1)) {
      if (one.checked === box.checked) continue;
      one.checked = box.checked;
      one.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }
  last = box;
});
document.addEventListener("htmx:after:swap", (event) => event.target.id === "cells" && show());
