// Anything that changes in a tool's form asks for the price again, a moment later.
const WAIT_MS = { input: 350, change: 120 };
const form = document.querySelector("[data-builder]");
const quote = document.getElementById("quote");
let timer = 0;

/** The fold is asked for when it is opened, and again when something changes while it is open. */
function refresh(fold) {
  htmx.trigger(fold.querySelector(`#${fold.dataset.fold}`), "refresh");
}

function later(event) {
  if (event.target.matches("[name=preset_name], #show-safe-zones")) return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    htmx.trigger(quote, "quote");
    for (const fold of form.querySelectorAll("details[data-fold][open]")) {
      if (fold.dataset.fold === "cells" || !event.target.matches("[data-cell]")) refresh(fold);
    }
  }, WAIT_MS[event.type]);
}

// What was uploaded just now is being prepared: the price is asked for again until it is ready.
setInterval(() => !document.hidden && quote?.querySelector("[data-again]") && htmx.trigger(quote, "quote"), 2500);

form?.addEventListener("input", later);
form?.addEventListener("change", later);
for (const fold of document.querySelectorAll("details[data-fold]")) {
  fold.addEventListener("toggle", () => fold.open && refresh(fold));
}
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-shuffle]");
  if (!button) return;
  const field = document.getElementById(button.dataset.shuffle);
  field.value = Math.floor(Math.random() * 10_000);
  field.dispatchEvent(new Event("change", { bubbles: true }));
});
