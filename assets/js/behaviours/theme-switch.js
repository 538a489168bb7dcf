// Theme: system → dark → light, remembered on this device.
import { remember } from "./remember.js";

const order = ["system", "dark", "light"];
const root = document.documentElement;

function current() {
  return root.dataset.theme ?? "system";
}

function choose(theme) {
  if (theme === "system") delete root.dataset.theme;
  else root.dataset.theme = theme;
  remember("theme", theme === "system" ? null : theme);
  show();
  document.getElementById("announcer").textContent = `Theme: ${theme}`;
}

function show() {
  for (const word of document.querySelectorAll("[data-theme-word]")) word.textContent = `Theme: ${current()}`;
  for (const radio of document.querySelectorAll("input[data-theme-choice]")) radio.checked = radio.value === current();
}

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-theme-switch]")) choose(order[(order.indexOf(current()) + 1) % order.length]);
});
document.addEventListener("change", (event) => {
  if (event.target.matches("input[data-theme-choice]")) choose(event.target.value);
});
show();
