/* The texts of the room that may be marked: what is selected in them, and where their spans are painted. */

import { t } from "../i18n.js";
import { SpanText } from "./spantext.js";

const TOUCH_PAUSE_MS = 350; // the handles of a touch selection come to rest

export class SpanRoom {
  /** `onPrompt`: whether messages may be marked, too. `attribute`: what holds a text's number, its target. */
  constructor(element, { onPrompt = true, attribute = "data-span-text" }) {
    this.attribute = attribute;
    const texts = [...element.querySelectorAll(`[${attribute}]`)].map((one) => new SpanText(one));
    this.texts = texts.filter((text) => onPrompt || this.targetOf(text) >= 0);
    this.byTarget = Map.groupBy(this.texts, (text) => this.targetOf(text));
    this.byElement = new Map(this.texts.map((text) => [text.element, text]));
    for (const text of this.texts) if (!text.isPlaced) showRaw(text);
  }

  targetOf(text) {
    return Number(text.element.getAttribute(this.attribute));
  }

  /** The targets in the order of the screen. */
  get targets() {
    return [...this.byTarget.keys()];
  }

  /** Both views of a target: rendered and raw. */
  of(target) {
    return this.byTarget.get(target) ?? [];
  }

  /** The view of a target that is on screen. */
  shown(target) {
    return this.of(target).find((text) => text.isPlaced && text.element.checkVisibility()) ?? null;
  }

  /** The letter of a completion, or the number of a message. */
  nameOf(target) {
    const letter = this.of(target)[0]?.element.closest(".completion")?.dataset.letter;
    return letter ?? t("Message {n}", { n: -target });
  }

  /** The source between two offsets, shortened. */
  quote({ target, start, end }, most = 160) {
    const text = this.of(target).findLast((one) => one.isPlaced);
    const found = text?.range(start, end);
    const words = found ? liveRange(found).toString() : "";
    return words.length > most ? `${words.slice(0, most / 2)} … ${words.slice(-most / 2)}` : words;
  }

  /** Where a span is on screen, as a live range of the shown view; null when nothing of it is shown. */
  rangeOf({ target, start, end }) {
    const found = this.shown(target)?.range(start, end);
    return found ? liveRange(found) : null;
  }

  /** What the browser's selection marks: {target, start, end}; null when it is in no text or empty. */
  selected() {
    const selection = getSelection();
    if (!selection.rangeCount || selection.isCollapsed) return null;
    const text = this.textAround(selection.anchorNode) ?? this.textAround(selection.focusNode);
    const offsets = text?.offsets(selection.getRangeAt(0));
    return offsets ? { target: this.targetOf(text), ...offsets } : null;
  }

  /** The place in a text under the pointer: {target, offset}, or null beside the characters. */
  at(x, y) {
    const { node, unit } = caretAt(x, y);
    const text = this.textAround(node);
    const offset = text?.offsetAt(node, unit) ?? null;
    if (offset === null) return null;
    const around = [offset - 1, offset].filter((one) => isUnder(text.range(one, one + 1), x, y));
    return around.length ? { target: this.targetOf(text), offset: around[0] } : null;
  }

  textAround(node) {
    const element = node?.nodeType === Node.ELEMENT_NODE ? node : node?.parentElement;
    const text = this.byElement.get(element?.closest(`[${this.attribute}]`));
    return text?.isPlaced ? text : null;
  }

  /** Call `selected()` after text was selected by pointer or touch, `clicked(x, y)` after a click that selected nothing;
      it answers whether something was there. */
  listen({ selected, clicked, signal }) {
    let touch = false;
    let inTexts = false;
    let timer = 0;
    const later = (wait) => {
      clearTimeout(timer);
      timer = setTimeout(() => this.selected() && selected(), wait);
    };
    const click = (event) => {
      const link = event.target.closest("a");
      if (getSelection().isCollapsed && !clicked(event.clientX, event.clientY)) followed(link);
    };
    for (const { element } of this.texts) {
      element.addEventListener("click", click, { signal });
      element.addEventListener("pointerdown", letSelect, { signal });
    }
    const down = (event) => {
      touch = event.pointerType === "touch";
      inTexts = !event.target.closest?.("form, [popover]"); // a selection stays while the popover is used
    };
    document.addEventListener("pointerdown", down, { signal, capture: true });
    document.addEventListener("pointerup", () => !touch && inTexts && later(0), { signal });
    document.addEventListener("selectionchange", () => touch && inTexts && later(TOUCH_PAUSE_MS), { signal });
    signal.addEventListener("abort", () => clearTimeout(timer));
  }
}

/* Browsers start no selection on a link. Without its address it is text, for as long as the button is down. */
function letSelect(event) {
  const link = event.target.closest("a[href]");
  if (!link || event.button !== 0 || event.ctrlKey || event.metaKey) return;
  const address = link.getAttribute("href");
  link.removeAttribute("href");
  const back = () => setTimeout(() => link.setAttribute("href", address)); // after the click, which must not follow it
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, back, { once: true });
}

/* A link was clicked and nothing was selected. */
function followed(link) {
  if (link && !link.hasAttribute("href")) setTimeout(() => link.click());
}

/* A text that cannot be placed is marked as it is written. */
function showRaw({ element }) {
  if (!element.textContent.trim()) return;
  const raw = element.closest("[data-text]").querySelector(".raw");
  if (element === raw) return;
  const toggle = element.closest(".completion, .turn")?.querySelector("[data-raw-toggle]");
  if (raw.hidden && toggle) toggle.click();
  [element.hidden, raw.hidden] = [true, false];
  const words = t("This text can be marked only as it is written, so it is shown raw.");
  raw.before(Object.assign(document.createElement("p"), { className: "muted small span-raw-note", textContent: words }));
}

export function liveRange({ startContainer, startOffset, endContainer, endOffset }) {
  const range = new Range();
  range.setStart(startContainer, startOffset);
  range.setEnd(endContainer, endOffset);
  return range;
}

function caretAt(x, y) {
  if (document.caretPositionFromPoint) {
    const found = document.caretPositionFromPoint(x, y);
    return { node: found?.offsetNode ?? null, unit: found?.offset ?? 0 };
  }
  const found = document.caretRangeFromPoint(x, y);
  return { node: found?.startContainer ?? null, unit: found?.startOffset ?? 0 };
}

function isUnder(range, x, y) {
  if (!range) return false;
  return [...liveRange(range).getClientRects()].some((box) => x >= box.left && x <= box.right && y >= box.top && y <= box.bottom);
}
