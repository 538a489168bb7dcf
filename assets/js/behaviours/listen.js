// One audio at a time, played in place.
const player = new Audio();
let button = null;

function still() {
  button?.setAttribute("aria-pressed", "false");
  button = null;
}

player.addEventListener("ended", still);
document.addEventListener("click", (event) => {
  const pressed = event.target.closest("[data-listen]");
  if (!pressed) return;
  event.preventDefault();
  player.pause();
  const same = pressed === button;
  still();
  if (same) return;
  button = pressed;
  player.src = pressed.dataset.listen;
  pressed.setAttribute("aria-pressed", "true");
  player.play().catch(still);
});
