/* A span question on the screen: text, or a time of sound or video, is selected in the content, a popover says what is
   wrong with it, a list below shows all that was marked. Offsets are those of the source (spantext.js), so nothing depends on the order on screen. */

import { t, tn } from "../i18n.js";
import * as toasts from "../toasts.js";
import { Control } from "./control.js";
import { keysAreOn } from "./keyboard.js";
import { announce } from "./notice.js";
import { SpanCaret } from "./spancaret.js";
import { SpanList } from "./spanlist.js";
import { MissingItems } from "./spanmissing.js";
import { Painting, slotOf } from "./spanpaint.js";
import { SpanPopover } from "./spanpopover.js";
import { SpanRoom } from "./spanroom.js";
import { SpanTimes, isTimed } from "./spantimes.js";

const MOST_SPANS = 5000;
const MOST_MS = 24 * 60 * 60 * 1000;
const BLANK = { subtype: "", severity: "", comment: "", confidence: null };
const inCharge = new WeakMap(); // room element → the span question that selections go to

export class Span extends Control {
  constructor(section, question, context) {
    super(section, question, context);
    const { signal } = this;
    this.spans = new Map();
    this.room = new SpanRoom(this.element, { onPrompt: question.on_prompt });
    this.painting = new Painting((target) => this.room.of(target));
    this.times = new SpanTimes(this.element, { onPrompt: question.on_prompt, onMedia: question.on_media, signal });
    const places = { targets: this.targets(), nameOf: (target) => this.room.nameOf(target), quote: (span) => this.quote(span) };
    this.list = new SpanList(section.querySelector("[data-span-groups]"), question, places, {
      open: (span) => this.open(span, { jump: true }),
      remove: (span) => this.remove(span),
      point: (span) => this.point(span),
      signal,
    });
    this.popover = new SpanPopover(section.querySelector("[data-span-popover]"), question, {
      changed: (fields) => this.edit(fields),
      retimed: (fields) => this.retime(this.current, fields),
      play: () => this.times.of(this.current)?.line.play(this.current.start_ms, this.current.end_ms),
      deleted: () => this.discard(),
      closed: () => this.put(),
      signal,
    });
    this.caret = new SpanCaret(this.room, { entered: (event) => this.onCaretKey(event), signal });
    const missing = this.rows.find((row) => row.dataset.row === "missing");
    this.missingItems = missing ? new MissingItems(missing, this.element, { changed: () => this.changed(), signal }) : null;
    section.addEventListener("focusin", () => inCharge.set(this.element, this), { signal });
    section.querySelector("[data-mark-by-key]").addEventListener("click", () => this.caret.enter(), { signal });
    this.room.listen({ selected: () => this.onSelected(), clicked: (x, y) => this.onClicked(x, y), signal });
    this.times.listen({
      taking: () => this.takesSelections,
      selected: (span) => this.mayAdd(span) && this.open(span),
      moved: (span, after) => this.retime(span, after),
      clicked: (found) => found.length && this.open(shortest(found)),
      spans: (target) => this.of(target).filter(isTimed),
    });
    signal.addEventListener("abort", () => this.painting.clear());
  }

  get takesSelections() {
    return inCharge.get(this.element) === this && !this.section.hidden && !this.section.inert;
  }

  /** Spans of a question that is not asked are on no text, and selections go to one that is. */
  present(asked) {
    super.present(asked);
    if (asked && (inCharge.get(this.element)?.section.hidden ?? true)) inCharge.set(this.element, this);
    if (asked === this.asked) return;
    this.asked = asked;
    if (!asked) this.popover.close();
    this.missingItems?.present(asked);
    if (!asked) for (const painting of [this.painting, this.times]) painting.clear();
    else for (const span of this.targets().flatMap((target) => this.of(target))) this.paint(span);
  }

  read() {
    const marked = this.targets().flatMap((target) => this.of(target)).map((span) => ({ ...span }));
    const missing = this.missingItems?.read() ?? [];
    const times = marked.filter(isTimed);
    if (!marked.length && !missing.length) return null;
    return { spans: marked.filter((span) => !isTimed(span)), missing, ...(times.length && { times }) };
  }

  write(stored) {
    this.popover.close();
    this.painting.clear();
    this.times.clear();
    this.spans.clear();
    for (const span of [...(stored?.spans ?? []), ...(stored?.times ?? [])]) this.of(span.target).push({ ...BLANK, ...span });
    for (const target of this.targets()) {
      this.of(target).sort(byPlace);
      for (const span of this.of(target)) this.paint(span);
      this.list.draw(target, this.of(target));
    }
    this.missingItems?.write(stored?.missing ?? []);
  }

  missing() {
    return this.question.required && this.read() === null ? t("Mark at least one span") : "";
  }

  summary() {
    return tn("{n} span", "{n} spans", this.targets().reduce((sum, target) => sum + this.of(target).length, 0));
  }

  /** `m` marks text by keyboard, `t` goes to the first line of time; digits belong to the popover. */
  press(row, key) {
    if (key === "m") this.caret.enter();
    else if (key === "t" && !this.times.isEmpty) this.times.focus();
    else return false;
    return true;
  }

  showErrors(errors) {
    const first = (start) => Object.entries(errors).find(([path]) => path === start || path.startsWith(`${start}.`))?.[1];
    const known = { "": errors[""], spans: first("spans") ?? first("times"), missing: first("missing") };
    return super.showErrors(Object.fromEntries(Object.entries(known).filter(([, words]) => words !== undefined)));
  }

  /** All targets in stored order: messages, then completions. */
  targets() {
    const order = (target) => (target < 0 ? -target : 1e6 + target);
    return [...new Set([...this.room.targets, ...this.times.targets, ...this.spans.keys()])].sort((one, other) => order(one) - order(other));
  }

  /** The spans of one target, in reading order. */
  of(target) {
    if (!this.spans.has(target)) this.spans.set(target, []);
    return this.spans.get(target);
  }

  paint(span) {
    if (!this.asked) return;
    const index = this.question.types.findIndex((kind) => kind.name === span.type);
    this.paintAs(span, `span-${slotOf(index)}`, span);
  }

  paintAs(key, name, span) {
    this.erase(key);
    (isTimed(span) ? this.times : this.painting).paint(key, name, span);
  }

  erase(key) {
    this.painting.erase(key);
    this.times.erase(key);
  }

  point(span) {
    if (span) this.paintAs("active", "span-active", span);
    else this.erase("active");
  }

  quote(span) {
    return isTimed(span) ? this.times.quote(span) : this.room.quote(span);
  }

  onSelected() {
    if (!this.takesSelections) return;
    this.openSelection();
  }

  openSelection() {
    const selected = this.room.selected();
    if (selected && this.mayAdd(selected)) this.open(selected);
  }

  onClicked(x, y) {
    const place = this.takesSelections && this.room.at(x, y);
    const span = place && this.around(place);
    if (span) this.open(span);
    return Boolean(span);
  }

  /** The shortest span around a place. */
  around({ target, offset }) {
    return shortest(this.of(target).filter((span) => span.start <= offset && offset < span.end));
  }

  onCaretKey({ key, code }) {
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(code)?.[1];
    const selected = this.room.selected();
    if (key === "Enter" || key === " ") this.openAtCaret(selected);
    else if (digit && selected && keysAreOn()) this.markAtOnce(selected, this.question.types[Number(digit) - 1]);
    else return false;
    return true;
  }

  openAtCaret(selected) {
    if (selected) return this.openSelection();
    const { focusNode, focusOffset } = getSelection();
    const text = this.room.textAround(focusNode);
    const offset = text?.offsetAt(focusNode, focusOffset) ?? null;
    const span = offset === null ? null : this.around({ target: this.room.targetOf(text), offset });
    return span ? this.open(span) : announce(t("Nothing is selected"));
  }

  markAtOnce(selected, kind) {
    if (!kind || !this.mayAdd(selected)) return;
    this.current = selected;
    this.edit({ ...BLANK, type: kind.name });
    this.put();
    getSelection().collapseToEnd();
  }

  mayAdd(span) {
    const overlaps = !this.question.allow_overlap && this.of(span.target).some((other) => other !== span && overlap(span, other));
    const words = overlaps
      ? t("This overlaps another span, and here spans may not overlap.")
      : !span.type && this.isFull(span) && t("There are too many spans here to add another.");
    if (words) toasts.show(words);
    return !words;
  }

  isFull(span) {
    const all = this.targets().flatMap((target) => this.of(target));
    return all.filter((other) => isTimed(other) === isTimed(span)).length >= MOST_SPANS;
  }

  /** Open a span, or a selection that is none yet. */
  open(span, { jump = false } = {}) {
    this.current = span;
    const timed = isTimed(span);
    if (jump && timed) this.times.go(span);
    else if (jump) this.room.rangeOf(span)?.startContainer.parentElement.scrollIntoView({ block: "center" });
    this.paintAs("active", span.type ? "span-active" : "span-new", span);
    const place = () => (timed ? this.times.of(span)?.boxOf(span) : this.room.rangeOf(span)?.getBoundingClientRect());
    this.popover.open(span, { quote: this.quote(span), place, timed });
  }

  /** Other ends for a marked time; what the sound or the question does not allow is put right or refused. */
  retime(span, { start_ms, end_ms }) {
    const most = Math.min(this.times.of(span)?.line.duration || Infinity, MOST_MS); // 0: not known yet, or never
    const end = Math.min(Math.max(1, end_ms), most);
    const after = { ...span, start_ms: Math.min(Math.max(0, start_ms), end - 1), end_ms: end };
    const others = this.of(span.target).filter((other) => other !== span);
    if (!this.question.allow_overlap && others.some((other) => overlap(after, other))) {
      toasts.show(t("This overlaps another span, and here spans may not overlap."));
      return;
    }
    Object.assign(span, { start_ms: after.start_ms, end_ms: after.end_ms });
    if (span === this.current) this.popover.say(this.quote(span));
    if (span === this.current) this.paintAs("active", span.type ? "span-active" : "span-new", span);
    if (!span.type) return;
    this.of(span.target).sort(byPlace);
    this.paint(span);
    this.list.draw(span.target, this.of(span.target));
    this.changed();
  }

  /** The popover says something of the current span; with a type, a selection becomes a span. */
  edit(fields) {
    const span = this.current;
    const isNew = !span.type;
    Object.assign(span, fields);
    if (isNew) {
      this.insert(span);
      announce(t("Marked as {type}: {words}", { type: span.type, words: this.quote(span) }));
    }
    this.paint(span);
    this.list.draw(span.target, this.of(span.target));
    this.changed();
  }

  insert(span) {
    const spans = this.of(span.target);
    spans.splice(spans.filter((other) => byPlace(other, span) <= 0).length, 0, span);
  }

  /** Close what was open; the keyboard goes on in the text where it was. */
  put() {
    const span = this.current;
    this.current = null;
    this.erase("active");
    if (span && isTimed(span)) this.times.focus(span);
    else if (this.caret.isOn) this.caret.enter();
    else getSelection().removeAllRanges();
  }

  discard() {
    const span = this.current;
    this.popover.close();
    if (span?.type) this.remove(span);
  }

  remove(span) {
    const spans = this.of(span.target);
    const at = spans.indexOf(span);
    if (at < 0) return;
    spans.splice(at, 1);
    this.erase(span);
    this.point(null);
    this.list.draw(span.target, spans);
    const undo = { label: t("Undo"), run: () => this.restore(span, toast) };
    const toast = toasts.show(t("Span deleted"), { action: undo });
    this.changed();
  }

  restore(span, toast) {
    toast.remove();
    if (this.signal.aborted) return; // another instance is on screen
    this.insert(span);
    this.paint(span);
    this.list.draw(span.target, this.of(span.target));
    this.changed();
  }
}

function byPlace(one, other) {
  return (one.media ?? -1) - (other.media ?? -1) || startOf(one) - startOf(other) || endOf(one) - endOf(other);
}

function overlap(one, other) {
  return one.media === other.media && startOf(one) < endOf(other) && startOf(other) < endOf(one);
}

function shortest(spans) {
  return spans.sort((one, other) => endOf(one) - startOf(one) - (endOf(other) - startOf(other)))[0] ?? null;
}

function startOf(span) {
  return span.start_ms ?? span.start;
}

function endOf(span) {
  return span.end_ms ?? span.end;
}
