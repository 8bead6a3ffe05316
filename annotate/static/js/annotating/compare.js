/* What differs between two completions, in words, when somebody asks for it. */

import { t } from "../i18n.js";
import { drawDiff } from "./diffview.js";

export function wireComparison(room, signal) {
  const section = room.querySelector("[data-comparison]");
  if (!section) return;
  section.querySelector("[data-compare]").addEventListener("click", () => toggle(room, section), { signal });
  section.addEventListener("change", () => show(room, section), { signal });
}

function toggle(room, section) {
  const button = section.querySelector("[data-compare]");
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", String(open));
  section.querySelector(".comparison-result").hidden = !open;
  section.querySelector("[data-compare-words]").textContent = "";
  if (open) show(room, section);
}

function show(room, section) {
  const result = section.querySelector(".comparison-result");
  if (result.hidden) return void toggle(room, section);
  const chosen = ["from", "to"].map((end) => section.querySelector(`[data-compare-${end}]`));
  const texts = chosen.map((select) => room.querySelectorAll(".completion .raw")[Number(select.value)].textContent);
  const [from, to] = chosen.map((select) => select.selectedOptions[0].textContent);
  const { gone, added, cut } = drawDiff(result.querySelector("[data-compare-diff]"), ...texts);
  const words = t("Words only in {from}, struck through: {gone}. Only in {to}, underlined: {added}.", { from, gone, to, added });
  section.querySelector("[data-compare-words]").textContent = cut ? `${words} ${t("Rewritten passages are shown whole.")}` : words;
}
