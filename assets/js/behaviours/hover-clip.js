// The three-second clip plays, muted, while a pointer rests on a tile, or after a tap on its play mark: one at a time.
const LOAD_MS = 30; // a pointer that only passes by loads nothing
const REST_MS = 90; // and one that rests sees it move within 200 ms, loading included
const still = matchMedia("(prefers-reduced-motion: reduce)");
const sparing = matchMedia("(prefers-reduced-data: reduce)");
let timers = [];
let playing = null;

const unwanted = () => still.matches || sparing.matches || navigator.connection?.saveData;

function stop() {
  for (const timer of timers) clearTimeout(timer);
  timers = [];
  if (!playing) return;
  playing.parentElement?.closest(".tile")?.querySelector("[data-play]")?.setAttribute("aria-pressed", "false");
  playing.removeAttribute("src"); // or it would go on loading
  playing.load();
  playing.remove();
  playing = null;
}

function load(frame) {
  const video = Object.assign(document.createElement("video"), { muted: true, loop: true, playsInline: true, preload: "auto", src: frame.dataset.clip });
  video.className = "frame-clip";
  video.setAttribute("aria-hidden", "true");
  video.addEventListener("playing", () => video.classList.add("is-playing"), { once: true });
  frame.append(video);
  playing = video;
}

function play() {
  const video = playing;
  video?.play().catch(() => video === playing && stop());
}

document.addEventListener("pointerover", (event) => {
  const frame = event.target.closest?.("[data-clip]");
  if (!frame || event.pointerType === "touch" || unwanted()) return;
  if (playing?.parentElement === frame || frame.dataset.resting) return;
  stop();
  frame.dataset.resting = "yes";
  timers = [setTimeout(() => load(frame), LOAD_MS), setTimeout(play, REST_MS)];
  const leave = () => {
    delete frame.dataset.resting;
    stop();
  };
  frame.addEventListener("pointerleave", leave, { once: true });
});

// The play mark, where nothing can hover. Whoever taps it wants to see it move, whatever else they prefer.
document.addEventListener("click", (event) => {
  const mark = event.target.closest("[data-play]");
  if (!mark) return;
  const wasPlaying = mark.getAttribute("aria-pressed") === "true";
  stop();
  if (wasPlaying) return;
  load(mark.closest(".tile").querySelector("[data-clip]"));
  mark.setAttribute("aria-pressed", "true");
  play();
});
document.addEventListener("visibilitychange", () => document.hidden && stop());
