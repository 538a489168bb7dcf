// From one thing to the next without the list between them, in the list's own order: by two links, and by j and k.
const KEY = "list";
const IDS_MAX = 2000;

const listed = () => [...document.querySelectorAll("[data-items] > [id^=asset-]")].map((item) => item.id.slice("asset-".length));

function remember() {
  const ids = listed();
  if (!ids.length) return;
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ place: `place ${location.pathname}${location.search}`, ids: ids.slice(-IDS_MAX) }));
  } catch {
    // Storage may be forbidden or full; then the list is the way.
  }
}

/** Whoever goes back to the list then finds the one that was looked at last. */
function lead(place, id) {
  const was = JSON.parse(sessionStorage.getItem(place) ?? "null");
  if (was) sessionStorage.setItem(place, JSON.stringify({ ...was, id: `asset-${id}`, focus: `asset-${id}`, at: innerHeight / 3 }));
}

function draw(links) {
  const { place, ids } = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
  const here = ids?.indexOf(links.dataset.neighbours) ?? -1;
  if (here < 0) return;
  for (const [name, id] of [["previous", ids[here - 1]], ["next", ids[here + 1]]]) {
    const link = links.querySelector(`[data-${name}]`);
    if (id) link.href = links.dataset.address.replace(/\d+$/, id);
    else link.setAttribute("aria-disabled", "true");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || !id) return;
      event.preventDefault();
      lead(place, id);
      location.replace(link.href);
    });
  }
  links.hidden = false;
}

const links = document.querySelector("[data-neighbours]");
try {
  if (links) draw(links);
  else addEventListener("pagehide", remember);
} catch {
  // The same.
}

document.addEventListener("keydown", (event) => {
  const name = { j: "next", k: "previous" }[event.key];
  if (!links || !name || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
  links.querySelector(`[data-${name}][href]`)?.click();
});
