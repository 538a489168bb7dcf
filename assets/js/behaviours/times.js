// "3 min ago" grows older on the page, and a countdown counts.
function words(seconds) {
  for (const [length, name] of [[86_400, "day"], [3600, "h"], [60, "min"]]) {
    if (seconds >= length) {
      const amount = Math.floor(seconds / length);
      return `${amount} ${name}${name === "day" && amount > 1 ? "s" : ""}`;
    }
  }
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function update() {
  for (const time of document.querySelectorAll("time[data-time]")) {
    const seconds = (Date.now() - Date.parse(time.dateTime)) / 1000;
    if (time.dataset.time === "ago") time.textContent = seconds < 10 ? "just now" : `${words(seconds)} ago`;
    else if (time.dataset.time === "for") time.textContent = seconds < 10 ? "A few seconds" : words(seconds);
    else time.textContent = seconds > 0 ? "now" : `in ${words(-seconds)}`;
  }
}

setInterval(update, 10_000);
