// What only stands there is said as well: the toasts that came with a page, and how many there are in a list that was
// narrowed. A live region speaks of what changes in it, so it must be there first.
let said = "";
const announcer = document.getElementById("announcer");
const told = [...document.querySelectorAll("[data-toast] p")].map((toast) => toast.textContent.trim()).join(" ");
if (told) setTimeout(() => (announcer.textContent = told), 400);

document.addEventListener("htmx:after:swap", () => {
  const count = document.querySelector("#count")?.textContent.trim();
  const what = document.querySelector("h1")?.textContent.trim();
  if (!count || !what || `${what}: ${count}` === said) return;
  const isFirst = said === "";
  said = `${what}: ${count}`;
  if (!isFirst || document.activeElement?.closest("#filters")) announcer.textContent = said;
});
