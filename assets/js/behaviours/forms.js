// A button is disabled only while its request is in flight, so that a double click sends once.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method === "dialog" || event.submitter?.dataset.download !== undefined) return;
  const button = event.submitter ?? event.target.querySelector("button:not([type=button])");
  // After the form's data was collected, so that the button's own name and value are still sent.
  setTimeout(() => button?.setAttribute("aria-busy", "true"));
});
// Back from the next page through the history: the old page is shown as it was left.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("button[aria-busy]")) button.removeAttribute("aria-busy");
});
// The same for a button that asks in the background; only the end of its own request sets it free.
const sourceOf = (event) => event.detail.ctx?.sourceElement;
document.addEventListener("htmx:before:request", (event) => {
  if (sourceOf(event)?.matches?.("button")) sourceOf(event).setAttribute("aria-busy", "true");
});
document.addEventListener("htmx:finally:request", (event) => {
  for (const button of document.querySelectorAll("button[aria-busy]")) {
    if (button === sourceOf(event) || button.form === sourceOf(event)) button.removeAttribute("aria-busy");
  }
});

// data-autosubmit: a choice that is sent as soon as it is made.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
});

// A slider says its value beside it.
document.addEventListener("input", (event) => {
  const output = event.target.matches("input.slider") && event.target.parentElement.querySelector("output");
  if (output) output.value = `${event.target.value}${output.dataset.unit ?? ""}`;
});

// data-shows="id": a switch or choice that folds something in and out.
function fold(control) {
  for (const [attribute, wanted] of [["shows", true], ["hides", false]]) {
    const other = document.getElementById(control.dataset[attribute] ?? "");
    if (other) other.hidden = control.checked !== wanted;
  }
}
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-shows], [data-hides]")) fold(event.target);
});
