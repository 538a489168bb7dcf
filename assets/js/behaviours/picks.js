// The columns of what is picked: remove, clear, reorder by dragging or with the arrow keys.
let dragged = null;

export function changed(list) {
  const column = list.closest("[data-picks]");
  column.querySelector("[data-count]").textContent = list.children.length || "";
  column.querySelector("[data-picks-clear]").hidden = !list.children.length;
  list.dispatchEvent(new Event("change", { bubbles: true }));
}

export function idsIn(column) {
  return [...column.querySelectorAll("[data-pick-list] > [data-id]")].map((pick) => pick.dataset.id);
}

document.addEventListener("click", (event) => {
  const remove = event.target.closest("[data-pick-remove]");
  if (remove) {
    const [pick, list] = [remove.closest(".pick"), remove.closest("[data-pick-list]")];
    (pick.nextElementSibling ?? pick.previousElementSibling)?.querySelector("[data-pick-remove]")?.focus();
    pick.remove();
    changed(list);
  }
  const clear = event.target.closest("[data-picks-clear]");
  if (clear) {
    const list = clear.closest("[data-picks]").querySelector("[data-pick-list]");
    list.replaceChildren();
    changed(list);
  }
});

document.addEventListener("keydown", (event) => {
  const grip = event.target.closest?.("[data-grip]");
  if (!grip || !["ArrowUp", "ArrowDown"].includes(event.key)) return;
  event.preventDefault();
  const pick = grip.closest(".pick");
  if (event.key === "ArrowUp") pick.previousElementSibling?.before(pick);
  else pick.nextElementSibling?.after(pick);
  grip.focus();
  changed(pick.parentElement);
});

document.addEventListener("dragstart", (event) => {
  dragged = event.target.closest?.(".pick");
  dragged?.classList.add("is-dragged");
});
document.addEventListener("dragover", (event) => {
  const over = dragged && event.target.closest?.(".pick");
  if (!over || over.parentElement !== dragged.parentElement) return;
  event.preventDefault();
  const box = over.getBoundingClientRect();
  if (over !== dragged) over[event.clientY < box.top + box.height / 2 ? "before" : "after"](dragged);
});
document.addEventListener("dragend", () => {
  if (!dragged) return;
  dragged.classList.remove("is-dragged");
  changed(dragged.parentElement);
  dragged = null;
});
