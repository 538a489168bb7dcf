// Says when the way to NOVAI is cut, and that nothing is lost; takes it back when it is there again.
const bar = Object.assign(document.createElement("p"), { className: "offline", hidden: true });
bar.setAttribute("role", "status");
document.body.prepend(bar);

function show() {
  bar.hidden = navigator.onLine;
  bar.textContent = navigator.onLine ? "" : "You are offline. What was started goes on, and this page catches up by itself.";
  if (navigator.onLine) document.dispatchEvent(new CustomEvent("live:hurry"));
}

window.addEventListener("offline", show);
window.addEventListener("online", show);
if (!navigator.onLine) show();
