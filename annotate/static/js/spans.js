/* Recorded spans of a page, painted over its texts. annotate/views/spans.py says what the page has to offer. */

import { Painting } from "./annotating/spanpaint.js";
import { SpanText } from "./annotating/spantext.js";
import { isTimed, SpanTimes } from "./annotating/spantimes.js";

const texts = Map.groupBy(
  [...document.querySelectorAll("[data-span-text]")].map((element) => new SpanText(element)),
  (text) => Number(text.element.dataset.spanText),
);
const painting = new Painting((target) => texts.get(target) ?? []);
const onMedia = document.querySelector("[data-span][data-media]") !== null;
const times = new SpanTimes(document, { onPrompt: true, onMedia, signal: new AbortController().signal });

function paintAll() {
  painting.clear();
  times.clear();
  for (const row of document.querySelectorAll("[data-span]")) {
    if (row.checkVisibility()) paint(row, `span-${row.dataset.slot}`, spanOf(row));
  }
}

function paint(key, name, span) {
  (isTimed(span) ? times : painting).paint(key, name, span);
}

function spanOf({ dataset }) {
  const numbers = (...names) => Object.fromEntries(names.map((name) => [name, Number(dataset[name])]));
  if (dataset.media === undefined) return numbers("target", "start", "end");
  const { startMs: start_ms, endMs: end_ms, ...place } = numbers("target", "media", "startMs", "endMs");
  return { ...place, start_ms, end_ms, type: dataset.type };
}

/* The span of the row that the pointer or the focus is on stands out. */
function emphasise(event) {
  const row = event.target.closest("[data-span]");
  painting.erase("active");
  times.erase("active");
  if (row) paint("active", "span-active", spanOf(row));
}

function jump(event) {
  const row = event.target.closest("[data-span]");
  const span = row && spanOf(row);
  if (span && isTimed(span)) return times.go(span);
  const shown = span && texts.get(span.target)?.find((text) => text.element.checkVisibility());
  const range = shown?.range(span.start, span.end);
  range?.startContainer.parentElement.scrollIntoView({ block: "center" });
  return undefined;
}

document.addEventListener("pointerover", emphasise);
document.addEventListener("focusin", emphasise);
document.addEventListener("click", jump);
document.addEventListener("spans:changed", paintAll);
document.addEventListener("toggle", paintAll, { capture: true }); // a <details> around a list
paintAll();
