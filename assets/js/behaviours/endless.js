// Lists that go on: the next page is fetched before one gets there, and whoever comes back finds their place again.
const AHEAD = "1200px";
const AGAIN_MS = 3000;
const PAGES_MAX = 20; // as the server takes them

const items = () => [...document.querySelectorAll("[data-items] > [id]")];
const place = () => `place ${location.pathname}${location.search}`;

// --- Going on ---

const soon = new IntersectionObserver(
  (seen) => {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting || target.dataset.asked) continue;
      target.dataset.asked = "yes";
      target.click();
    }
  },
  { rootMargin: AHEAD, scrollMargin: AHEAD },
);

function watch() {
  for (const more of document.querySelectorAll("[data-more]")) soon.observe(more);
}

document.addEventListener("htmx:after:swap", watch);
// A page that did not come is asked for again, as long as somebody waits for it.
document.addEventListener("htmx:error", (event) => {
  const more = event.detail.ctx?.sourceElement;
  if (!more?.matches?.("[data-more]")) return;
  setTimeout(() => {
    delete more.dataset.asked;
    soon.unobserve(more);
    soon.observe(more);
  }, AGAIN_MS);
});

// --- Coming back ---

/** What was shown: how many, which one was at the top, and which one was in focus. */
function remember() {
  const shown = items();
  const top = shown.find((item) => item.getBoundingClientRect().bottom > 64);
  if (!top) return;
  const said = { count: shown.length, id: top.id, at: top.getBoundingClientRect().top, focus: document.activeElement?.closest("[data-items] > [id]")?.id };
  try {
    sessionStorage.setItem(place(), JSON.stringify(said));
  } catch {
    // Storage may be forbidden or full; then one starts at the top, as everywhere.
  }
}

function remembered() {
  try {
    const [navigation] = performance.getEntriesByType("navigation");
    const stays = sessionStorage.getItem("stay") === place();
    sessionStorage.removeItem("stay");
    return stays || navigation?.type !== "navigate" ? JSON.parse(sessionStorage.getItem(place())) : null;
  } catch {
    return null;
  }
}

function settle({ id, at, focus }) {
  const item = document.getElementById(id);
  if (!item) return;
  // Twice: what has just come into view knows its height only now.
  const move = () => scrollBy({ top: item.getBoundingClientRect().top - at, behavior: "instant" });
  move();
  requestAnimationFrame(move);
  document.getElementById(focus)?.querySelector("a[href]")?.focus({ preventScroll: true });
}

async function comeBack(was) {
  const first = items().length;
  const more = document.querySelector("[data-more]");
  if (was.count > first && first && more) {
    const url = new URL(more.href);
    url.searchParams.set("pages", Math.min(PAGES_MAX, Math.ceil((was.count - first) / first)));
    more.dataset.asked = "yes";
    const target = more.closest("tr.more-row") ?? more;
    await htmx.ajax("GET", url.pathname + url.search, { source: more, target, swap: "outerHTML", select: more.getAttribute("hx-select") });
  }
  settle(was);
}

addEventListener("pagehide", remember);
// A change that leads back to this page, such as Undo, leads back to this place.
document.addEventListener("submit", (event) => {
  if (event.target.method !== "post") return;
  try {
    sessionStorage.setItem("stay", place());
  } catch {
    // The same.
  }
});
const was = remembered();
// Not before everything listens: until then a click on the link would leave the page.
addEventListener("load", () => (was ? comeBack(was).then(watch) : watch()), { once: true });
