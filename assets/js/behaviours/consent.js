// A consent that was just written down in the dialog is chosen: the dialog closes, and the price is asked for again.
document.addEventListener("htmx:after:swap", () => {
  document.querySelector("#new-consent[open] [aria-invalid=true]")?.focus();
  const choice = document.querySelector("#consent-choice[data-new-choice]");
  if (!choice) return;
  choice.removeAttribute("data-new-choice");
  document.getElementById("new-consent")?.close();
  choice.querySelector("select").dispatchEvent(new Event("change", { bubbles: true }));
  choice.querySelector("select").focus();
});
