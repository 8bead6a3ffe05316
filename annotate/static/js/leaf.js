/* The page of an instance: leafing with ← and → by the links rel=prev and rel=next of the page head, and raw views. */

import { wireMedia } from "./annotating/media.js";
import { toLastTurn, toggleRaw } from "./annotating/texts.js";

const BUSY = "input, textarea, select, [contenteditable], [role=region]";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || event.target.closest(BUSY)) return;
  const [left, right] = document.documentElement.dir === "rtl" ? ["next", "prev"] : ["prev", "next"];
  const towards = { ArrowLeft: left, ArrowRight: right }[event.key];
  if (towards) document.querySelector(`.page-head a[rel=${towards}]`)?.click();
});

document.addEventListener("click", (event) => {
  const raw = event.target.closest("[data-raw-toggle]");
  if (raw) {
    toggleRaw(raw);
    document.dispatchEvent(new Event("spans:changed"));
  }
  if (event.target.closest("[data-last-turn]")) toLastTurn(document);
});

wireMedia(document, new AbortController().signal);
