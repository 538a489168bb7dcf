// Toasts leave after ten seconds unless somebody is reading them; a failed request becomes one.
const LIFE_MS = 10_000;
const toasts = document.getElementById("toasts");

function arm(toast) {
  if (toast.dataset.armed) return;
  toast.dataset.armed = "yes";
  let timer = setTimeout(() => toast.remove(), LIFE_MS);
  toast.addEventListener("pointerenter", () => clearTimeout(timer));
  toast.addEventListener("focusin", () => clearTimeout(timer));
  for (const end of ["pointerleave", "focusout"]) {
    toast.addEventListener(end, () => {
      clearTimeout(timer);
      timer = setTimeout(() => toast.remove(), LIFE_MS / 2);
    });
  }
}

function armAll() {
  for (const toast of document.querySelectorAll("[data-toast]")) arm(toast);
}

function undoButton(toast, undo) {
  const button = Object.assign(document.createElement("button"), { type: "button", className: "btn", textContent: "Undo" });
  Object.assign(button.dataset, { undo: "", variant: "outline", size: "sm" });
  button.addEventListener("click", () => {
    toast.remove();
    undo();
  });
  return button;
}

/** `undo`, a function, takes back what only this page knows of. */
function say(text, tone = "info", undo = null) {
  const toast = document.createElement("div");
  toast.className = "toast";
  toast.dataset.tone = tone;
  toast.dataset.toast = "";
  toast.append(Object.assign(document.createElement("p"), { textContent: text }));
  if (undo) toast.append(undoButton(toast, undo));
  toasts.append(toast);
  arm(toast);
}

new MutationObserver(armAll).observe(document.querySelector(".toasts"), { childList: true, subtree: true });
armAll();

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-dismiss]")) event.target.closest("[data-toast]")?.remove();
});

// Other scripts dispatch "toast:say".
document.addEventListener("toast:say", (event) => say(event.detail.text, event.detail.tone, event.detail.undo));
document.addEventListener("htmx:error", (event) => {
  const source = event.detail.ctx?.sourceElement;
  if (source?.id === "live-source" || event.detail.error?.name === "AbortError") return;
  say("NOVAI did not answer. Nothing was changed; try again in a moment.", "failed");
});
