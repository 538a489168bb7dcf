// The live frame: the first video's picture with one of the hooks, drawn by the server with the code that renders.
import { idsIn } from "./picks.js";

const WAIT_MS = 180;
const form = document.querySelector("[data-builder][data-frame]");
const image = document.getElementById("preview-image");
const box = document.getElementById("preview-frame");
const note = document.getElementById("preview-note");
let [timer, asked, at] = [0, 0, 0];

const column = (name) => form.querySelector(`[data-picks="${name}"]`);

function address() {
  const query = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (name.startsWith("hook_") || name.startsWith("frame")) query.append(name, value);
  }
  const [video] = idsIn(column("videos"));
  const hooks = idsIn(column("hooks"));
  at = hooks.length ? ((at % hooks.length) + hooks.length) % hooks.length : 0;
  if (video) query.set("video", video);
  if (hooks.length) query.set("hook", hooks[at]);
  document.getElementById("preview-hook").textContent = hooks.length ? `Hook ${at + 1} of ${hooks.length}` : "";
  for (const step of document.querySelectorAll("[data-hook-step]")) step.hidden = hooks.length < 2;
  return video || hooks.length ? `${form.dataset.frame}?${query}` : null;
}

/** Where the engine takes a frame for a tall one, the platforms' buttons are elsewhere. */
function shape(width, height) {
  if (!width || !height) return;
  box.style.setProperty("--ratio", (width / height).toFixed(4));
  box.dataset.shape = height > width * 1.2 ? "tall" : "wide";
}

/** The old picture stays until the new one is there, so that nothing flickers; a late answer is dropped. */
async function draw() {
  const url = address();
  const turn = (asked += 1);
  note.textContent = url ? "Drawing …" : "Pick a video to see it here.";
  if (!url) {
    image.hidden = true;
    note.hidden = false;
    return;
  }
  image.classList.add("is-old");
  const fresh = new Image();
  fresh.src = url;
  try {
    await fresh.decode();
  } catch {
    note.textContent = "This could not be drawn.";
    return; // The form says what is wrong; the last good picture stays.
  }
  if (turn !== asked) return;
  image.src = url;
  image.hidden = false;
  image.classList.remove("is-old");
  note.hidden = true;
  shape(fresh.naturalWidth, fresh.naturalHeight);
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(draw, WAIT_MS);
}

if (form) {
  const first = column("videos").querySelector(".pick");
  if (first) shape(Number(first.dataset.width), Number(first.dataset.height)); // before the picture is there
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  draw();
}
document.addEventListener("click", (event) => {
  const shown = event.target.closest("[data-hook-show]");
  if (shown) {
    at = Math.max(0, idsIn(column("hooks")).indexOf(shown.dataset.hookShow));
    draw();
    if (!box.checkVisibility() || box.getBoundingClientRect().bottom < 0) box.scrollIntoView({ block: "center" });
  }
  const step = event.target.closest("[data-hook-step]");
  if (!step) return;
  at += Number(step.dataset.hookStep);
  draw();
});
