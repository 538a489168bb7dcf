// The three-second clip plays, muted, while a pointer rests on a tile: one <video> at a time, made when needed.
const REST_MS = 120;
const still = matchMedia("(prefers-reduced-motion: reduce)");
let timer = 0;
let playing = null;

function stop() {
  clearTimeout(timer);
  playing?.remove();
  playing = null;
}

function play(frame) {
  stop();
  const video = Object.assign(document.createElement("video"), { src: frame.dataset.clip, muted: true, loop: true, playsInline: true });
  video.className = "frame-clip";
  video.setAttribute("aria-hidden", "true");
  video.addEventListener("playing", () => video.classList.add("is-playing"), { once: true });
  frame.append(video);
  playing = video;
  video.play().catch(stop);
}

document.addEventListener("pointerover", (event) => {
  const frame = event.target.closest?.("[data-clip]");
  if (!frame || event.pointerType === "touch" || still.matches) return;
  if (playing?.parentElement === frame) return;
  clearTimeout(timer);
  timer = setTimeout(() => play(frame), REST_MS);
  frame.addEventListener("pointerleave", stop, { once: true });
});
