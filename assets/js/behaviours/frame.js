// The live frame: the first video's picture with one of the hooks, drawn by the server with the code that renders.
import { idsIn } from "./picks.js";

const WAIT_MS = 180;
const form = document.querySelector("[data-builder][data-frame]");
const image = document.getElementById("preview-image");
const box = document.getElementById("preview-frame");
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
  return video || hooks.length ? `${form.dataset.frame}?${query}` : null;
}

/** The old picture stays until the new one is there, so that nothing flickers; a late answer is dropped. */
async function draw() {
  const url = address();
  const turn = (asked += 1);
  if (!url) {
    image.hidden = true;
    document.getElementById("preview-note").hidden = false;
    return;
  }
  image.classList.add("is-old");
  const fresh = new Image();
  fresh.src = url;
  try {
    await fresh.decode();
  } catch {
    return; // The form says what is wrong; the last good picture stays.
  }
  if (turn !== asked) return;
  image.src = url;
  image.hidden = false;
  image.classList.remove("is-old");
  document.getElementById("preview-note").hidden = true;
  box.dataset.shape = fresh.naturalHeight > fresh.naturalWidth * 1.2 ? "tall" : "wide";
}

function later() {
  clearTimeout(timer);
  timer = setTimeout(draw, WAIT_MS);
}

if (form) {
  form.addEventListener("input", later);
  form.addEventListener("change", later);
  draw();
}
document.addEventListener("click", (event) => {
  const step = event.target.closest("[data-hook-step]");
  if (!step) return;
  at += Number(step.dataset.hookStep);
  draw();
});
