/* Fields that take the key that is pressed in them, instead of its character. */

import { nameOf } from "./annotating/keyboard.js";

for (const field of document.querySelectorAll("[data-key-field]")) {
  field.addEventListener("focus", () => field.select());
  field.addEventListener("keydown", (event) => {
    const key = nameOf(event.key);
    if (event.ctrlKey || event.metaKey || event.altKey || [...key].length !== 1 || key === " ") return;
    event.preventDefault();
    field.value = key;
    field.select();
  });
}
