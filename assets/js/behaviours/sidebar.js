// The sidebar folds to icons on a desk and is a drawer on a phone.
import { remember } from "./remember.js";

const root = document.documentElement;

function fold() {
  const folded = getComputedStyle(root).getPropertyValue("--sidebar").trim() === "56px";
  root.dataset.sidebar = folded ? "wide" : "small";
  remember("sidebar", root.dataset.sidebar);
}

function drawer(open) {
  if (open) root.dataset.drawer = "open";
  else delete root.dataset.drawer;
  document.querySelector(open ? "#sidebar a" : "[data-drawer-open]")?.focus();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-sidebar-switch]")) fold();
  if (event.target.closest("[data-drawer-open]")) {
    event.preventDefault();
    drawer(true);
  }
  if (event.target.closest("[data-drawer-close]")) drawer(false);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && root.dataset.drawer) drawer(false);
});
