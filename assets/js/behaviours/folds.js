// Panels of settings that fold: a folded one says in its head what is set. On a phone all are folded at first.
import { phone } from "./screen.js";

const folds = [...document.querySelectorAll("details[data-set]")];

function label(field) {
  const cell = field.closest(".field");
  return (cell.querySelector("legend, label")?.textContent ?? "").trim();
}

/** A choice by its word, a switch that is on by its name, anything else that was changed by its name and value. */
function words(fold) {
  const said = [];
  for (const field of fold.querySelectorAll("input, select, textarea")) {
    if (!field.closest(".field") || field.closest(".cell-field")?.checkVisibility() === false && fold.open) continue;
    if (field.type === "radio") {
      if (field.checked) said.push(field.closest("label").textContent.trim() || field.closest("label").title);
    } else if (field.type === "checkbox") {
      if (field.checked) said.push(label(field).toLowerCase());
    } else if (field.tagName === "SELECT" ? !field.selectedOptions[0]?.defaultSelected : field.value !== field.defaultValue) {
      said.push(`${label(field).toLowerCase()} ${field.tagName === "SELECT" ? field.selectedOptions[0].text : field.value || "none"}`);
    }
  }
  return said.join(" · ");
}

function say(fold) {
  fold.querySelector("[data-says]").textContent = words(fold);
}

for (const fold of folds) {
  if (phone.matches && !("wrong" in fold.dataset)) fold.open = false;
  fold.classList.add("is-ready");
  say(fold);
}
document.addEventListener("input", (event) => {
  const fold = event.target.closest?.("details[data-set]");
  if (fold) say(fold);
});
document.addEventListener("change", (event) => {
  if (event.target.matches?.("form")) folds.forEach(say);
  else if (event.target.closest?.("details[data-set]")) say(event.target.closest("details[data-set]"));
});
