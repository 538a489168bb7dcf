// <dialog>s: opened by data-opens="id", closed by data-closes, Escape or a click on the backdrop.
// What is loaded when dialog #id opens says hx-trigger="id:open".
export function open(id) {
  const dialog = document.getElementById(id);
  if (!dialog || dialog.open) return;
  const opener = document.activeElement;
  dialog.showModal();
  dialog.querySelector(":is(.dialog-head ~ *, .search-head) :is(textarea, input:not([type=hidden]))")?.focus();
  dialog.addEventListener("close", () => giveBack(opener), { once: true });
  const body = dialog.querySelector(`[hx-trigger~="${id}:open"]`);
  if (body) htmx.trigger(body, `${id}:open`);
}

/** The browser gives the focus back to what had it; where that was in a menu that has closed, the menu's button has it. */
function giveBack(opener) {
  if (opener?.checkVisibility()) return;
  opener?.closest("details.menu")?.querySelector("summary")?.focus();
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    open(opener.dataset.opens);
  }
  if (event.target.closest("[data-closes]")) event.target.closest("dialog")?.close();
  if (event.target.tagName === "DIALOG" && event.target.open && outside(event)) event.target.close();
});

function outside(event) {
  const box = event.target.getBoundingClientRect();
  const { clientX: x, clientY: y } = event;
  return (x || y) && (x < box.left || x > box.right || y < box.top || y > box.bottom);
}

// A link that opens a dialog here, and leads to a page where this script is not, says what it does here.
function sayWhatOpens() {
  for (const opener of document.querySelectorAll("[data-opens]")) {
    opener.setAttribute("aria-haspopup", "dialog");
    if (opener.matches("a")) opener.setAttribute("role", "button");
  }
}
sayWhatOpens();
document.addEventListener("htmx:after:swap", sayWhatOpens);
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || !event.target.matches?.('a[role="button"]')) return;
  event.preventDefault();
  event.target.click();
});

// A form in a dialog that came back with errors is shown again at once.
const now = document.querySelector("[data-opens-now]");
if (now) open(now.dataset.opensNow);

let waiting = null;

/** Asks before what cannot be undone; only for forms that say data-confirm. */
document.addEventListener(
  "submit",
  (event) => {
    const form = event.target;
    if (!form.dataset.confirm || form.dataset.confirmed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    waiting = { form, submitter: event.submitter };
    const dialog = document.getElementById("confirm");
    dialog.querySelector("[data-confirm-text]").textContent = form.dataset.confirm;
    dialog.querySelector("[data-confirm-yes]").textContent = form.dataset.confirmLabel ?? "Yes";
    dialog.showModal();
  },
  true,
);
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-confirm-yes]") || !waiting) return;
  document.getElementById("confirm").close();
  waiting.form.dataset.confirmed = "yes";
  waiting.form.requestSubmit(waiting.submitter);
  delete waiting.form.dataset.confirmed;
  waiting = null;
});
