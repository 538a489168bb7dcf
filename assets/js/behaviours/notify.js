// Opt-in, on this device: the browser's own notification when something watched here ends while nobody looks.
// Nothing is asked for until somebody switches it on.
import { remember } from "./remember.js";

const supported = "Notification" in window && isSecureContext;
const switches = () => document.querySelectorAll("input[data-notify]");

export function wanted() {
  try {
    return supported && Notification.permission === "granted" && localStorage.getItem("notify") === "yes";
  } catch {
    return false;
  }
}

/** `words`: one sentence for each thing that ended, well or badly. The same one from two tabs is shown once. */
export function tell(words) {
  if (!document.hidden || !wanted()) return;
  for (const word of words) {
    try {
      new Notification("NOVAI", { body: word, tag: word }).onclick = () => focus();
    } catch {
      return; // A phone's browser knows the word and refuses it; the title of the page still says it.
    }
  }
}

function show() {
  for (const box of switches()) box.checked = wanted();
}

async function choose(box) {
  const answer = box.checked ? await Notification.requestPermission() : "denied";
  if (box.checked && answer !== "granted") {
    const text = "This browser does not let NOVAI notify you. Allow it in the browser’s settings for this site.";
    document.dispatchEvent(new CustomEvent("toast:say", { detail: { text, tone: "info" } }));
  }
  remember("notify", answer === "granted" ? "yes" : null);
  show();
}

for (const box of switches()) {
  box.disabled = !supported;
  const here = box.closest("[data-notify-here]");
  if (here) here.hidden = !supported;
}
document.addEventListener("change", (event) => {
  if (event.target.matches?.("input[data-notify]")) choose(event.target);
});
show();
