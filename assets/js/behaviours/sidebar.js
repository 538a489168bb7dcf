// The sidebar folds to icons on a desk and is a drawer on a phone.
import { remember } from "./remember.js";

const root = document.documentElement;

function fold() {
  const folded = getComputedStyle(root).getPropertyValue("--sidebar").trim() === "56px";
  root.dataset.sidebar = folded ? "wide" : "small";
  remember("sidebar", root.dataset.sidebar);
  say();
}

function say() {
  const isSmall = getComputedStyle(root).getPropertyValue("--sidebar").trim() === "56px";
  document.querySelector("[data-sidebar-switch]")?.setAttribute("aria-pressed", String(isSmall));
}
say();

/** While the drawer is open nothing behind it can be reached. */
function drawer(open) {
  const page = document.querySelector(".shell-page");
  const opener = document.querySelector("[data-drawer-open]");
  if (open) root.dataset.drawer = "open";
  else delete root.dataset.drawer;
  page.inert = open;
  opener.setAttribute("aria-expanded", String(open));
  (open ? document.querySelector("#sidebar [data-drawer-close]") : opener).focus();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-sidebar-switch]")) fold();
  if (event.target.closest("[data-drawer-open]")) {
    event.preventDefault();
    drawer(true);
  }
  if (event.target.closest("[data-drawer-close]") && root.dataset.drawer) {
    event.preventDefault();
    drawer(false);
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && root.dataset.drawer) drawer(false);
});
