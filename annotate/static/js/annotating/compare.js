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
  section.querySelector("[data-compare]").setAttribute("aria-expanded", String(!isOpen(section)));
  section.querySelector(".comparison-result").hidden = true;
  section.querySelector("[data-compare-words]").textContent = "";
  if (isOpen(section)) show(room, section);
}

function isOpen(section) {
  return section.querySelector("[data-compare]").getAttribute("aria-expanded") === "true";
}

async function show(room, section) {
  if (!isOpen(section)) return void toggle(room, section);
  const chosen = ["from", "to"].map((end) => section.querySelector(`[data-compare-${end}]`));
  const texts = chosen.map((select) => room.querySelectorAll(".completion .raw")[Number(select.value)].textContent);
  const [from, to] = chosen.map((select) => select.selectedOptions[0].textContent);
  const found = await drawDiff(section.querySelector("[data-compare-diff]"), ...texts);
  if (!isOpen(section)) return;
  section.querySelector(".comparison-result").hidden = false;
  if (!found) return;
  const { gone, added, cut, failed } = found;
  const words = t("Words only in {from}, struck through: {gone}. Only in {to}, underlined: {added}.", { from, gone, to, added });
  section.querySelector("[data-compare-words]").textContent = failed ?? (cut ? `${words} ${t("Rewritten passages are shown whole.")}` : words);
}
