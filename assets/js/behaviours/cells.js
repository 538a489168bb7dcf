// Unticking a variant leaves it out: its key travels with the form.
document.addEventListener("change", (event) => {
  const box = event.target.closest("[data-cell]");
  if (!box) return;
  const left = document.getElementById("without");
  left.querySelector(`[value="${CSS.escape(box.dataset.cell)}"]`)?.remove();
  if (box.checked) return;
  left.append(Object.assign(document.createElement("input"), { type: "hidden", name: "without", value: box.dataset.cell }));
});
