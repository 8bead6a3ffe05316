/* Painting spans over texts with the CSS Custom Highlight API: no element is added, so thousands of spans stay quick and
   may overlap. css/questions/span.css says how `::highlight(span-1)` and its sisters look. */

export const SLOTS = 12;

/** The look of the type with this index: hue and underline style, repeated after SLOTS types. */
export function slotOf(index) {
  return (Math.max(0, index) % SLOTS) + 1;
}

/** A group of painted ranges that can be taken away together. */
export class Painting {
  /** `texts(target)` answers the SpanTexts that show a target: rendered and raw. */
  constructor(texts) {
    this.texts = texts;
    this.painted = new Map();
  }

  /** Paint [start, end) of a target under `key`, which names it for `erase`; paints anew what the key painted before. */
  paint(key, name, { target, start, end }) {
    this.erase(key);
    const ranges = this.texts(target).map((text) => text.range(start, end)).filter((range) => range !== null);
    const highlight = highlightOf(name);
    for (const range of ranges) highlight?.add(range);
    this.painted.set(key, { highlight, ranges });
  }

  erase(key) {
    const { highlight, ranges } = this.painted.get(key) ?? { ranges: [] };
    for (const range of ranges) highlight?.delete(range);
    this.painted.delete(key);
  }

  clear() {
    for (const key of [...this.painted.keys()]) this.erase(key);
  }
}

/* Browsers without the API show the list of spans, which names and quotes them all. */
function highlightOf(name) {
  if (!("highlights" in CSS)) return null;
  if (!CSS.highlights.has(name)) {
    const made = new Highlight();
    made.priority = PRIORITY[name] ?? 0;
    CSS.highlights.set(name, made);
  }
  return CSS.highlights.get(name);
}

const PRIORITY = { "span-new": 2, "span-active": 1 };
