// A preset puts its values into the form as if somebody had; that, and deleting one, can be taken back.
const form = document.querySelector("[data-builder]");
const say = (text, undo) => document.dispatchEvent(new CustomEvent("toast:say", { detail: { text, tone: "info", undo } }));

function put(name, value) {
  const field = form.elements[name];
  if (!field) return;
  if (field instanceof RadioNodeList) field.value = String(value);
  else if (field.type === "checkbox") field.checked = Boolean(value);
  else field.value = value ?? "";
  if (field.type === "range") field.dispatchEvent(new Event("input", { bubbles: true }));
}

/** How these fields stand, in the words of a preset. */
function standing(names) {
  return names
    .filter((name) => form.elements[name])
    .map((name) => {
      const field = form.elements[name];
      return [name, field.type === "checkbox" ? field.checked : field.value];
    });
}

function putAll(values) {
  for (const [name, value] of values) put(name, value);
  form.dispatchEvent(new Event("change", { bubbles: true }));
}

function apply(button) {
  const values = Object.entries(JSON.parse(button.dataset.preset));
  const before = standing(values.map(([name]) => name));
  putAll(values);
  say(`Set as in “${button.textContent.trim()}”.`, () => putAll(before));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-preset]");
  if (button) apply(button);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.name !== "preset_name") return;
  event.preventDefault();
  event.target.parentElement.querySelector("button").click();
});

// Deleted: the answer says where that is taken back.
document.addEventListener("htmx:after:request", ({ detail }) => {
  const name = detail.ctx?.sourceElement?.dataset?.presetDelete;
  const address = name && detail.ctx.response?.headers.get("Novai-Undo");
  if (!address) return;
  say(`The preset “${name}” was deleted.`, () => htmx.ajax("POST", address, { source: "#presets", target: "#presets", swap: "outerHTML" }));
});
