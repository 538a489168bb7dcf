// Opt-in, on this device: the browser's own notification when something watched here ends while nobody looks.
import { remember } from "./remember.js";

const supported = "Notification" in window;

export function wanted() {
  try {
    return supported && Notification.permission === "granted" && localStorage.getItem("notify") === "yes";
  } catch {
    return false;
  }
}

/** `words`: one sentence for each thing that ended, well or badly. */
export function tell(words) {
  if (document.hidden && wanted()) for (const word of words) new Notification("NOVAI", { body: word });
}

async function choose(box) {
  const allowed = box.checked && (await Notification.requestPermission()) === "granted";
  remember("notify", allowed ? "yes" : null);
  box.checked = allowed;
}

const box = document.querySelector("input[data-notify]");
if (box) {
  box.disabled = !supported;
  box.checked = wanted();
  box.addEventListener("change", () => choose(box));
}
