// Menus are <details class="menu">: they work without this; here they close on Escape and on a click elsewhere.
function closeAll(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) if (menu !== except) menu.open = false;
}

document.addEventListener("click", (event) => {
  const inside = event.target.closest("details.menu");
  closeAll(inside);
  if (inside && event.target.closest(".menu-list [data-opens], .menu-list a")) inside.open = false;
});
// A menu says whether it is open, and one that asks for a name is ready to be typed into.
for (const summary of document.querySelectorAll('summary[role="button"]')) summary.setAttribute("aria-expanded", "false");
document.addEventListener(
  "toggle",
  (event) => {
    event.target.querySelector?.(':scope > summary[role="button"]')?.setAttribute("aria-expanded", String(event.target.open));
    if (event.target.matches("details.menu[open]")) event.target.querySelector(".menu-list .input")?.focus();
  },
  true,
);
// Whoever tabs on past the last line of a menu leaves it.
document.addEventListener("focusin", (event) => closeAll(event.target.closest("details.menu")));
document.addEventListener("keydown", (event) => {
  const menu = event.target.closest?.("details.menu[open]");
  if (!menu) return;
  if (event.key === "Escape") {
    event.preventDefault();
    menu.open = false;
    menu.querySelector("summary").focus();
  }
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const items = [...menu.querySelectorAll(".menu-item")].filter((item) => item.checkVisibility());
    const next = items.indexOf(document.activeElement) + (event.key === "ArrowDown" ? 1 : -1);
    items[(next + items.length) % items.length]?.focus();
    event.preventDefault();
  }
});
