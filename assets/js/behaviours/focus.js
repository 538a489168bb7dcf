// The focus is never lost: when what holds it leaves the page, it goes to what stood beside it on the list.
let last = null;
let place = -1; // of the item that was visited last, among all items of the page
let visiting = false; // a toast: from there it goes back to where one was

const items = () => [...document.querySelectorAll("[data-item]")].filter((item) => item.checkVisibility());

document.addEventListener("focusin", (event) => {
  visiting = Boolean(event.target.closest("[data-toast]"));
  if (visiting) return;
  last = event.target;
  const item = last.closest("[data-item]");
  if (item) place = items().indexOf(item);
});

function first(item) {
  return item?.querySelector("a[href], button:not([disabled]), input:not([type=hidden])");
}

function recover() {
  const here = document.activeElement;
  const isLost = !here || here === document.body || !here.checkVisibility();
  if (!last || !isLost || document.querySelector("dialog[open]")) return;
  if (last.isConnected && last.checkVisibility()) {
    if (visiting) last.focus({ preventScroll: true });
    visiting = false;
    return;
  }
  const again = last.id ? document.getElementById(last.id) : null;
  const left = place >= 0 ? items() : [];
  const next = again?.checkVisibility() ? again : first(left[Math.min(place, left.length - 1)]);
  (next ?? document.getElementById("main"))?.focus({ preventScroll: !next });
}

new MutationObserver(recover).observe(document.body, { childList: true, subtree: true });
