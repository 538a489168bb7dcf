// The columns of what is picked: remove, clear, reorder by dragging (with a finger too) or with the arrow keys.
const announce = (text) => (document.getElementById("announcer").textContent = text);
const nameOf = (pick) => pick.dataset.name || "it";

export function changed(list) {
  const column = list.closest("[data-picks]");
  const count = list.querySelectorAll(":scope > .pick").length;
  column.querySelector("[data-count]").textContent = count || "";
  column.querySelector("[data-picks-clear]").hidden = !count;
  column.querySelector("[aria-invalid]")?.removeAttribute("aria-invalid");
  list.dispatchEvent(new Event("change", { bubbles: true }));
}

export function idsIn(column) {
  return [...column.querySelectorAll("[data-pick-list] > [data-id]")].map((pick) => pick.dataset.id);
}

/** Takes these away and offers to put them back where they were, whatever was picked since. */
export function takeAway(list, picks, said) {
  const places = picks.map((pick) => [pick, pick.nextElementSibling]);
  for (const pick of picks) pick.remove();
  changed(list);
  const undo = () => {
    for (const [pick, next] of places.toReversed()) {
      if (list.querySelector(`[data-id="${pick.dataset.id}"]`)) continue;
      list.insertBefore(pick, next?.parentElement === list ? next : null);
    }
    changed(list);
    picks[0].querySelector("[data-pick-remove]").focus();
  };
  document.dispatchEvent(new CustomEvent("toast:say", { detail: { text: said, tone: "info", undo } }));
}

function remove(pick) {
  const list = pick.parentElement;
  const next = (pick.nextElementSibling ?? pick.previousElementSibling)?.querySelector("[data-pick-remove]");
  takeAway(list, [pick], `“${nameOf(pick)}” is not picked any more.`);
  (next ?? opener(list.closest("[data-picks]"))).focus();
}

function clear(column) {
  const list = column.querySelector("[data-pick-list]");
  const picks = [...list.querySelectorAll(":scope > .pick")];
  takeAway(list, picks, `${picks.length} ${picks.length === 1 ? "pick" : "picks"} cleared.`);
  opener(column).focus();
}

export const opener = (column) => column.querySelector("[data-picker]");

document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-pick-remove]");
  if (pressed) remove(pressed.closest(".pick"));
  const all = event.target.closest("[data-picks-clear]");
  if (all) clear(all.closest("[data-picks]"));
});

/** The place that an arrow, Home or End asks for. */
function target(key, at, last) {
  return { ArrowUp: at - 1, ArrowDown: at + 1, Home: 0, End: last }[key];
}

document.addEventListener("keydown", (event) => {
  const grip = event.target.closest?.("[data-grip]");
  const pick = grip?.closest(".pick");
  const all = pick && [...pick.parentElement.querySelectorAll(":scope > .pick")];
  const at = all?.indexOf(pick);
  const to = pick && target(event.key, at, all.length - 1);
  if (to === undefined || to === null) return;
  event.preventDefault();
  if (!all[to] || to === at) return;
  all[to][to < at ? "before" : "after"](pick);
  grip.focus();
  announce(`${nameOf(pick)} is number ${to + 1} of ${all.length}.`);
  changed(pick.parentElement);
});

let dragged = null;

document.addEventListener("pointerdown", (event) => {
  const grip = event.target.closest?.("[data-grip]");
  if (!grip || event.button) return;
  dragged = { pick: grip.closest(".pick"), moved: false };
  grip.setPointerCapture(event.pointerId);
});

document.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const { pick } = dragged;
  const list = pick.parentElement;
  pick.classList.add("is-dragged");
  const over = [...list.querySelectorAll(":scope > .pick")].find((each) => {
    const box = each.getBoundingClientRect();
    return each !== pick && event.clientY >= box.top && event.clientY < box.bottom;
  });
  const edge = list.getBoundingClientRect();
  if (event.clientY < edge.top + 16) list.scrollTop -= 8;
  if (event.clientY > edge.bottom - 16) list.scrollTop += 8;
  if (!over) return;
  const box = over.getBoundingClientRect();
  over[event.clientY < box.top + box.height / 2 ? "before" : "after"](pick);
  dragged.moved = true;
});

function drop() {
  if (!dragged) return;
  dragged.pick.classList.remove("is-dragged");
  if (dragged.moved) changed(dragged.pick.parentElement);
  dragged = null;
}
document.addEventListener("pointerup", drop);
document.addEventListener("pointercancel", drop);
