// What is still moving is asked for in one request per address, faster while it moves, and while the page is hidden
// not at all, or slowly when somebody wants to be notified of the end.
// An element says data-live="/jobs/cards" (and data-live-id="12"); the answer replaces elements by their id,
// and what is over comes back without data-live, so that asking ends by itself.
import { tell, wanted as wantsNews } from "./notify.js";

const PACE_MS = [2000, 2000, 2000, 2000, 5000, 5000, 5000, 15_000];
const tags = new Map();
let quiet = 0;
let timer = 0;

const source = Object.assign(document.createElement("span"), { id: "live-source", hidden: true });
document.body.append(source);

function wanted() {
  const found = new Map();
  for (const element of document.querySelectorAll("[data-live]")) {
    if (element.closest("dialog:not([open])")) continue;
    const ids = found.get(element.dataset.live) ?? new Set();
    if (element.dataset.liveId) ids.add(element.dataset.liveId);
    found.set(element.dataset.live, ids);
  }
  return found;
}

function address(path, ids) {
  if (!ids.size) return path;
  return `${path}${path.includes("?") ? "&" : "?"}ids=${[...ids].join(",")}`;
}

async function ask(path, ids) {
  const url = address(path, ids);
  const tag = tags.get(url);
  let status = 0;
  const listen = (event) => {
    status = event.detail.ctx.response.status;
    const fresh = event.detail.ctx.response.headers.get("HX-PTag");
    if (fresh) tags.set(url, fresh);
  };
  source.addEventListener("htmx:after:request", listen);
  try {
    await htmx.ajax("GET", url, { source, target: source, swap: "none", headers: tag ? { "HX-PTag": tag } : {} });
  } finally {
    source.removeEventListener("htmx:after:request", listen);
  }
  return status === 200;
}

const running = () => Number(document.getElementById("queue-count")?.dataset.count ?? 0);

/** What has ended since it was looked at; on a page that shows none of it, that nothing is under way any more. */
function outcomes(watched, before) {
  const words = [...watched]
    .map((id) => document.getElementById(id))
    .filter((element) => element && !element.dataset.live && element.dataset.outcome)
    .map((element) => element.dataset.outcome);
  if (!words.length && before && !running()) words.push("Everything in your queue has ended.");
  if (!words.length) return;
  document.getElementById("announcer").textContent = words.join(" ");
  tell(words);
}

function title() {
  const count = running();
  const bare = document.title.replace(/^\(\d+\) /, "");
  document.title = count ? `(${count}) ${bare}` : bare;
}

async function tick() {
  clearTimeout(timer);
  if (document.hidden && !wantsNews()) return;
  const groups = wanted();
  const watched = new Set([...document.querySelectorAll("[data-live][data-outcome]")].map((element) => element.id));
  const before = running();
  let moved = false;
  for (const [path, ids] of groups) moved = (await ask(path, ids)) || moved;
  if (groups.size) {
    quiet = moved ? 0 : quiet + 1;
    outcomes(watched, before);
    title();
  }
  schedule();
}

function schedule() {
  clearTimeout(timer);
  timer = setTimeout(tick, document.hidden ? PACE_MS.at(-1) : PACE_MS[Math.min(quiet, PACE_MS.length - 1)]);
}

/** Ask soon: something was just started or put on the page. Other scripts dispatch "live:hurry". */
function hurry() {
  quiet = 0;
  clearTimeout(timer);
  timer = setTimeout(tick, 300);
}

document.addEventListener("live:hurry", hurry);
document.addEventListener("visibilitychange", () => !document.hidden && hurry());
document.addEventListener("htmx:after:swap", (event) => {
  if (event.target !== source) quiet = 0;
});
title();
schedule();
