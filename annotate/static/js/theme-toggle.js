/* System, light, dark: remembered in this browser. theme.js applies it before the first paint. */

import { t } from "./i18n.js";

const KEY = "tiebreak:theme";
const NEXT = { system: "light", light: "dark", dark: "system" };
const WORDS = { system: t("Theme: system"), light: t("Theme: light"), dark: t("Theme: dark") };

export function wire() {
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    apply(NEXT[current()]);
  });
  describe();
}

/** Write the words on the toggles; call again after a part of the page was replaced. */
export function describe() {
  for (const words of document.querySelectorAll("[data-theme-words]")) words.textContent = WORDS[current()];
}

function current() {
  return document.documentElement.dataset.theme ?? "system";
}

function apply(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    /* storage is blocked: the choice lasts for this page */
  }
  describe();
  document.dispatchEvent(new CustomEvent("themechange"));
}
