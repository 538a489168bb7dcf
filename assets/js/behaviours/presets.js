// A preset puts its values into the form as if somebody had.
function put(form, name, value) {
  const field = form.elements[name];
  if (!field) return;
  if (field instanceof RadioNodeList) field.value = String(value);
  else if (field.type === "checkbox") field.checked = Boolean(value);
  else field.value = value ?? "";
  if (field.type === "range") field.dispatchEvent(new Event("input", { bubbles: true }));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-preset]");
  if (!button) return;
  const form = button.closest("form");
  for (const [name, value] of Object.entries(JSON.parse(button.dataset.preset))) put(form, name, value);
  form.dispatchEvent(new Event("change", { bubbles: true }));
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.name !== "preset_name") return;
  event.preventDefault();
  event.target.parentElement.querySelector("button").click();
});
