/* The texts of an instance: raw view, copy, one completion at a time on a phone, scroll areas that keys can reach. */

import { t } from "../i18n.js";
import * as toasts from "../toasts.js";
import { wireComparison } from "./compare.js";
import { wireMedia } from "./media.js";

export function wireTexts(room, signal) {
  room.addEventListener("click", (event) => onClick(room, event), { signal });
  wireComparison(room, signal);
  wireMedia(room, signal);
  const completions = room.querySelector("#completions");
  completions.addEventListener("scroll", () => markShown(room, completions), { signal, passive: true });
  const observer = new ResizeObserver((entries) => entries.forEach((entry) => reachable(entry.target)));
  for (const area of room.querySelectorAll(".completion-text, .prose pre, .prose table")) observer.observe(area);
  signal.addEventListener("abort", () => observer.disconnect());
}

/** Show beside the completions what an answer says of them: {position: {words, chosen?}}. */
export function markChosen(room, marks) {
  for (const [position, completion] of room.querySelectorAll(".completion").entries()) {
    const { words = "", chosen = false } = marks[position] ?? {};
    const mark = completion.querySelector(".completion-mark");
    completion.classList.toggle("is-chosen", chosen);
    mark.textContent = words;
    mark.hidden = words === "";
  }
}

function onClick(room, event) {
  const raw = event.target.closest("[data-raw-toggle]");
  if (raw) toggleRaw(raw);
  const copied = event.target.closest("[data-copy-raw]");
  if (copied) copy(copied.closest(".completion").querySelector(".raw").textContent);
  if (event.target.closest("[data-last-turn]")) toLastTurn(room);
  const tab = event.target.closest("[data-show-completion]");
  if (tab) reveal(room, Number(tab.dataset.showCompletion));
}

/** Show the source of the text that the button belongs to, or what is made of it. */
export function toggleRaw(button) {
  const text = button.closest(".completion, .turn, .instance-completion").querySelector("[data-text]");
  const showRaw = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(showRaw));
  text.querySelector(".raw").hidden = !showRaw;
  text.querySelector(".prose").hidden = showRaw;
}

export function toLastTurn(room) {
  const last = room.querySelector(".prompt > .turn:last-child");
  last.scrollIntoView({ block: "start", behavior: behaviour() });
  last.tabIndex = -1;
  last.focus({ preventScroll: true });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toasts.show(t("Copied"));
  } catch {
    toasts.show(t("This browser did not allow copying. Use the raw view and copy by hand."), { danger: true });
  }
}

function reveal(room, position) {
  const completion = room.querySelectorAll(".completion")[position];
  completion.scrollIntoView({ inline: "start", block: "nearest", behavior: behaviour() });
}

function behaviour() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
}

function markShown(room, completions) {
  const shown = Math.round(Math.abs(completions.scrollLeft) / completions.clientWidth);
  room.querySelectorAll("[data-show-completion]").forEach((tab, i) => {
    tab.setAttribute("aria-pressed", String(i === shown));
  });
}

function reachable(area) {
  const scrolls = area.scrollHeight > area.clientHeight + 1 || area.scrollWidth > area.clientWidth + 1;
  if (scrolls) area.tabIndex = 0;
  else area.removeAttribute("tabindex");
}
