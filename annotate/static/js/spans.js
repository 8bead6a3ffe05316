/* Recorded spans of a page, painted over its texts. annotate/views/spans.py says what the page has to offer. */

import { Painting } from "./annotating/spanpaint.js";
import { SpanText } from "./annotating/spantext.js";

const texts = Map.groupBy(
  [...document.querySelectorAll("[data-span-text]")].map((element) => new SpanText(element)),
  (text) => Number(text.element.dataset.spanText),
);
const painting = new Painting((target) => texts.get(target) ?? []);

function paintAll() {
  painting.clear();
  for (const row of document.querySelectorAll("[data-span]")) {
    if (row.checkVisibility()) painting.paint(row, `span-${row.dataset.slot}`, spanOf(row));
  }
}

function spanOf({ dataset }) {
  return { target: Number(dataset.target), start: Number(dataset.start), end: Number(dataset.end) };
}

/* The span of the row that the pointer or the focus is on stands out. */
function emphasise(event) {
  const row = event.target.closest("[data-span]");
  if (row) painting.paint("active", "span-active", spanOf(row));
  else painting.erase("active");
}

function jump(event) {
  const row = event.target.closest("[data-span]");
  const span = row && spanOf(row);
  const shown = span && texts.get(span.target)?.find((text) => text.element.checkVisibility());
  const range = shown?.range(span.start, span.end);
  range?.startContainer.parentElement.scrollIntoView({ block: "center" });
}

document.addEventListener("pointerover", emphasise);
document.addEventListener("focusin", emphasise);
document.addEventListener("click", jump);
document.addEventListener("spans:changed", paintAll);
document.addEventListener("toggle", paintAll, { capture: true }); // a <details> around a list
paintAll();
