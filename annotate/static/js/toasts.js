/* Short messages at the bottom of the page. */

import { t } from "./i18n.js";

const SHOWN_MS = 6000;

/** Dismiss server-rendered and own toasts by button, and after a while unless they stay. */
export function wire(root = document) {
  for (const toast of root.querySelectorAll("[data-toast]")) {
    toast.querySelector("[data-toast-close]")?.addEventListener("click", () => toast.remove());
    if (!("toastStays" in toast.dataset)) setTimeout(() => toast.remove(), SHOWN_MS);
  }
}

/**
 * Show a toast and return its element. `action` is {label, key, run}; `danger` stays until it is dismissed.
 */
export function show(text, { action = null, danger = false, ms = SHOWN_MS } = {}) {
  const toast = document.createElement("div");
  toast.className = danger ? "toast toast-danger" : "toast";
  const words = document.createElement("p");
  words.textContent = text;
  toast.append(words);
  if (action) toast.append(button(action.label, action.run, action.key));
  if (danger) toast.append(button(t("Dismiss"), () => toast.remove()));
  document.getElementById("toasts")?.append(toast);
  if (!danger) setTimeout(() => toast.remove(), ms);
  return toast;
}

function button(label, run, key) {
  const element = document.createElement("button");
  element.type = "button";
  element.className = "button button-small";
  element.textContent = label;
  if (key) element.append(Object.assign(document.createElement("kbd"), { textContent: key }));
  element.addEventListener("click", run);
  return element;
}
