/* The sound and video of the room in which times may be marked, and the painting of those that are. */

import { t } from "../i18n.js";
import { TimeMarks, clockOf, figureOf } from "./timemarks.js";

export function isTimed(span) {
  return span.media !== undefined;
}

export class SpanTimes {
  /** `onPrompt`, `onMedia`: what the question lets be marked. */
  constructor(element, { onPrompt, onMedia, signal }) {
    const figures = onMedia ? [...element.querySelectorAll('[data-media="audio"], [data-media="video"]')] : [];
    const wanted = figures.filter((figure) => onPrompt || Number(figure.dataset.target) >= 0);
    this.element = element;
    this.marks = new Map(wanted.map((figure) => [figure, new TimeMarks(figure, signal)]));
  }

  get targets() {
    return [...new Set([...this.marks.values()].map((marks) => marks.target))];
  }

  get isEmpty() {
    return this.marks.size === 0;
  }

  /** The line that a span lies on; undefined when its file is gone. */
  of({ target, media }) {
    return this.marks.get(figureOf(this.element, target, media));
  }

  /** As `TimeMarks.listen`, with the target and the media in every span. */
  listen({ taking, selected, moved, clicked, spans }) {
    for (const marks of this.marks.values()) {
      const place = { target: marks.target, media: marks.index };
      const here = (span) => span.target === place.target && span.media === place.media;
      marks.listen({
        taking,
        moved,
        selected: (span) => selected({ ...place, ...span }),
        clicked: (ms) => clicked(spans(place.target).filter((span) => here(span) && span.start_ms <= ms && ms < span.end_ms)),
        spans: () => spans(place.target).filter(here),
      });
    }
  }

  paint(key, name, span) {
    this.erase(key);
    const look = name.replace(/^span-(\d+)$/, "span-look-$1").replace(/^span-(new|active)$/, "is-$1");
    this.of(span)?.show(key, span, { look, words: typeof key === "string" ? "" : span.type });
  }

  erase(key) {
    for (const marks of this.marks.values()) marks.hide(key);
  }

  clear() {
    for (const marks of this.marks.values()) marks.clear();
  }

  /** "Sound 1, 0:03.2 – 0:05". */
  quote({ target, media, start_ms, end_ms }) {
    const name = this.element.querySelector(`.media-item[data-target="${target}"][data-index="${media}"]`)?.dataset.name ?? "";
    return t("{name}, {from} – {to}", { name, from: clockOf(start_ms), to: clockOf(end_ms) });
  }

  /** Bring a span into view and the player to its start. */
  go(span) {
    const marks = this.of(span);
    marks?.figure.scrollIntoView({ block: "center" });
    marks?.line.seek(span.start_ms / 1000);
  }

  focus(span) {
    (span ? this.of(span) : [...this.marks.values()][0])?.line.canvas.focus();
  }
}
