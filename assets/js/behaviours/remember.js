/** Keeps a small choice on this device; forgets it when the value is null. */
export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    // A browser that forbids storage simply does not remember.
  }
}
