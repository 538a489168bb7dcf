// Keeping and throwing away, one or many, without leaving the place: the answer redraws what changed.
const bar = document.querySelector("[data-selection]");
const boxes = () => [...document.querySelectorAll("[data-pick]")];

/** From when on the page has not been told what changed: the answer must not move that on. */
function since() {
  const live = document.querySelector(".batch-head")?.dataset.live;
  return (live && new URL(live, location.href).searchParams.get("since")) || "";
}

async function send(button) {
  const values = button.name ? { [button.name]: button.value } : { n: boxes().filter((box) => box.checked).map((box) => box.value) };
  values.since = since();
  button.setAttribute("aria-busy", "true");
  const cell = button.closest(".cell");
  const had = cell?.contains(document.activeElement);
  await htmx.ajax("POST", button.formAction, { source: bar, target: bar, swap: "none", values, selectOOB: "#toasts:beforeend" });
  button.removeAttribute("aria-busy");
  if (had) (document.getElementById(cell.id)?.querySelector(".approve .btn") ?? cell.nextElementSibling?.querySelector(".approve .btn"))?.focus();
  if (!cell) bar.querySelector("[data-clear]").click();
}

// Before the selection bar hears of it, which sends what the lists of the library send.
document.addEventListener(
  "submit",
  (event) => {
    const button = event.submitter;
    if (button?.dataset.approve === undefined) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!button.hasAttribute("aria-busy")) send(button);
  },
  true,
);

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-select-shown]")) return;
  for (const box of boxes()) box.checked = true;
  document.dispatchEvent(new Event("selection:show"));
});
