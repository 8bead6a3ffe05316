/* Marks on a line of time: spans laid over it, and spans selected on it by mouse, touch and key. Times are whole
   milliseconds from the start. The line runs from left to right in every script, as players do. */

import { t } from "../i18n.js";
import { lineOf } from "./media.js";
import { announce } from "./notice.js";

const FAR_PX = 4; // from where a press is a drag
const EDGE_PX = { mouse: 5, pen: 8, touch: 14 };

/** The figure that shows media `index` of a target, or null when its file is gone. */
export function figureOf(element, target, index) {
  return element.querySelector(`[data-media="audio"][data-target="${target}"][data-index="${index}"], [data-media="video"][data-target="${target}"][data-index="${index}"]`);
}

/** "1:02.5" for 62500. */
export function clockOf(ms) {
  const [whole, thousandths] = ((ms % 60_000) / 1000).toFixed(3).split(".");
  const part = thousandths.replace(/0+$/, "");
  return `${Math.floor(ms / 60_000)}:${whole.padStart(2, "0")}${part && `.${part}`}`;
}

export class TimeMarks {
  constructor(figure, signal) {
    Object.assign(this, { figure, signal, shown: new Map(), from: null });
    this.line = lineOf(figure, signal);
    this.layer = figure.querySelector("[data-marks]");
    figure.querySelector(".timeline").hidden = false;
    for (const name of ["loadedmetadata", "durationchange"]) {
      this.line.player.addEventListener(name, () => this.settle(), { signal });
    }
  }

  get target() {
    return Number(this.figure.dataset.target);
  }

  get index() {
    return Number(this.figure.dataset.index);
  }

  /** Lay a span over the line under `key`; `words` stand in it, `look` says how it looks. */
  show(key, span, { look, words = "" }) {
    const mark = this.shown.get(key)?.mark ?? this.layer.appendChild(document.createElement("span"));
    mark.className = `time-mark ${look}`;
    mark.textContent = words;
    this.shown.set(key, { mark, span });
    this.settle();
    return mark;
  }

  hide(key) {
    this.shown.get(key)?.mark.remove();
    this.shown.delete(key);
  }

  clear() {
    for (const key of [...this.shown.keys()]) this.hide(key);
  }

  /** Where a span is on screen. */
  boxOf({ start_ms, end_ms }) {
    const { left, width, top, height } = this.line.canvas.getBoundingClientRect();
    const share = (ms) => (this.line.duration ? ms / this.line.duration : 0) * width;
    return new DOMRect(left + share(start_ms), top, share(end_ms - start_ms), height);
  }

  /* Shares of the line, known once the length of the file is. */
  settle() {
    const { duration } = this.line;
    for (const { mark, span } of this.shown.values()) {
      mark.hidden = duration === 0;
      mark.style.left = `${(100 * span.start_ms) / duration}%`;
      mark.style.width = `${(100 * Math.max(0, Math.min(span.end_ms, duration) - span.start_ms)) / duration}%`;
    }
  }

  /**
   * Let spans be selected: `taking()` tells whether a selection would be taken, `selected(span)` gets one with
   * {start_ms, end_ms}, `moved(span, span after)` a span whose edge was dragged, `clicked(ms)` a press that selected
   * nothing. `spans()` are those that are there.
   */
  listen({ taking, selected, moved, clicked, spans }) {
    Object.assign(this, { taking, selected, moved, clicked, spans });
    const { canvas } = this.line;
    canvas.dataset.marking = "";
    const tools = this.figure.querySelector("[data-mark-tools]");
    tools.hidden = false;
    canvas.addEventListener("pointerdown", (event) => this.onPress(event), { signal: this.signal });
    canvas.addEventListener("keydown", (event) => this.onKey(event), { signal: this.signal, capture: true });
    tools.querySelector("[data-mark-start]").addEventListener("click", () => this.markStart(), { signal: this.signal });
    tools.querySelector("[data-mark-end]").addEventListener("click", () => this.markEnd(), { signal: this.signal });
  }

  onPress(event) {
    const { canvas } = this.line;
    if (event.button !== 0 || !this.taking()) return;
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    const held = this.edgeAt(event);
    const begun = { x: event.clientX, fixed: held?.fixed ?? this.line.at(event.clientX), held: held?.span, span: null };
    const leaving = new AbortController();
    const on = (name, act) => canvas.addEventListener(name, act, { signal: leaving.signal });
    on("pointermove", (move) => this.onDrag(begun, move));
    on("pointerup", (up) => (leaving.abort(), this.onRelease(begun, up)));
    on("pointercancel", () => (leaving.abort(), this.hide("new")));
    this.signal.addEventListener("abort", () => leaving.abort(), { once: true });
  }

  /* The edge of a span under the pointer: the span, and its other edge. */
  edgeAt({ clientX, pointerType }) {
    const reach = EDGE_PX[pointerType] ?? EDGE_PX.mouse;
    for (const span of this.spans()) {
      const { left, right } = this.boxOf(span);
      if (Math.abs(clientX - right) <= reach) return { span, fixed: span.start_ms };
      if (Math.abs(clientX - left) <= reach) return { span, fixed: span.end_ms };
    }
    return null;
  }

  onDrag(begun, { clientX }) {
    if (!begun.span && Math.abs(clientX - begun.x) < FAR_PX) return;
    begun.span = between(begun.fixed, this.line.at(clientX));
    this.show("new", begun.span, { look: "is-new" });
  }

  onRelease({ span, held }, { clientX }) {
    this.hide("new");
    const at = this.line.at(clientX);
    if (!span || span.start_ms === span.end_ms) this.clicked(at);
    else if (held) this.moved(held, span);
    else this.selected(span);
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const act = { KeyI: () => this.markStart(), KeyO: () => this.markEnd() }[event.code];
    if (!act) return;
    act();
    event.preventDefault();
    event.stopImmediatePropagation();
  }

  markStart() {
    this.from = this.line.now;
    this.show("from", { start_ms: this.from, end_ms: this.from }, { look: "is-new" });
    announce(t("Start at {time}", { time: clockOf(this.from) }));
  }

  markEnd() {
    const { now } = this.line;
    if (this.from === null) return announce(t("Mark the start first"));
    if (now === this.from) return announce(t("The end is where the start is. Play on or seek, then mark the end."));
    const span = between(this.from, now);
    this.from = null;
    this.hide("from");
    if (this.taking()) this.selected(span);
    return undefined;
  }
}

function between(one, other) {
  return { start_ms: Math.min(one, other), end_ms: Math.max(one, other) };
}
