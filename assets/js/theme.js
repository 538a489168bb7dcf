// Runs before anything is painted: the chosen theme and the folded sidebar, so that nothing flashes or jumps.
const root = document.documentElement;
root.classList.add("js");
try {
  const theme = localStorage.getItem("theme");
  if (theme) root.dataset.theme = theme;
  const sidebar = localStorage.getItem("sidebar");
  if (sidebar) root.dataset.sidebar = sidebar;
} catch {
  // Storage may be forbidden; the system's theme and an open sidebar are fine then.
}
