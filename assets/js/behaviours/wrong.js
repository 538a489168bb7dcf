// A form that came back: the first field that is wrong is shown and has the focus.
const first = document.querySelector("main [aria-invalid=true], main .field-error, main .notice[role=alert]");
if (first) {
  const fold = first.closest("details");
  if (fold) fold.open = true;
  const field = first.matches("input, select, textarea, button") ? first : first.closest(".field, .picks")?.querySelector("input:not([type=hidden]), select, textarea, [data-picker]");
  if (!field) first.tabIndex = -1;
  (field ?? first).focus({ preventScroll: true });
  (first.closest(".field, .picks") ?? first).scrollIntoView({ block: "center" });
}
