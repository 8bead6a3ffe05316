/* Marking by keyboard: a caret in the texts. Arrows move it (with Ctrl by words), with Shift they select; the browser's
   own selection does the moving, so it knows lines, scripts that run from right to left, and characters of many parts. */

import { t } from "../i18n.js";
import { announce } from "./notice.js";
import { liveRange } from "./spanroom.js";

const MOVES = {
  ArrowLeft: ["left", "character"],
  ArrowRight: ["right", "character"],
  ArrowUp: ["backward", "line"],
  ArrowDown: ["forward", "line"],
  Home: ["backward", "lineboundary"],
  End: ["forward", "lineboundary"],
};

export class SpanCaret {
  /** `entered(event)` handles any other key pressed on a text and answers whether it meant something. */
  constructor(room, { entered, signal }) {
    Object.assign(this, { room, entered, signal });
    this.caret = Object.assign(document.createElement("span"), { className: "span-caret", hidden: true });
    this.caret.setAttribute("aria-hidden", "true");
    signal.addEventListener("abort", () => this.leave());
  }

  get isOn() {
    return this.leaving !== undefined;
  }

  /** Put the caret into a text, by default back where it was or into the first. */
  enter(wanted = this.last) {
    if (!this.isOn) this.wire();
    const text = wanted?.element.checkVisibility() ? wanted : this.shown()[0];
    text?.element.focus();
  }

  shown() {
    return this.room.targets.map((target) => this.room.shown(target)).filter((text) => text !== null);
  }

  wire() {
    this.leaving = new AbortController();
    const { signal } = this.leaving;
    document.body.append(this.caret);
    for (const text of this.room.texts) {
      const { element } = text;
      element.tabIndex = 0;
      element.setAttribute("role", "application");
      element.setAttribute("aria-label", t("Text {name}", { name: this.room.nameOf(this.room.targetOf(text)) }));
      element.addEventListener("focus", () => this.arrive(text), { signal });
      element.addEventListener("blur", () => (this.caret.hidden = true), { signal });
      element.addEventListener("keydown", (event) => this.onKey(event, text), { signal });
    }
    for (const name of ["scroll", "resize", "selectionchange"]) {
      document.addEventListener(name, () => this.draw(), { signal, capture: true, passive: true });
    }
  }

  leave() {
    if (!this.isOn) return;
    this.leaving.abort();
    this.leaving = undefined;
    this.caret.remove();
    for (const { element } of this.room.texts) {
      element.removeAttribute("tabindex");
      element.removeAttribute("role");
      element.removeAttribute("aria-label");
      element.blur();
    }
    getSelection().removeAllRanges();
  }

  arrive(text) {
    this.last = text;
    if (!text.element.contains(getSelection().focusNode) && text.isPlaced) getSelection().collapse(text.pieces[0].node, 0);
    this.draw();
  }

  onKey(event, text) {
    if (event.altKey || event.isComposing) return;
    const move = MOVES[event.key];
    if (event.key === "Tab" && !this.go(text, event.shiftKey ? -1 : 1)) return;
    if (move) this.move(text, move, event);
    else if (event.key === "Escape") this.escape();
    else if (event.key !== "Tab" && (event.ctrlKey || event.metaKey || !this.entered(event))) return;
    event.preventDefault();
    event.stopPropagation();
  }

  /* To the text beside this one; behind the last one Tab leads on as everywhere. */
  go(text, step) {
    const texts = this.shown();
    const next = texts[texts.indexOf(text) + step];
    next?.element.focus();
    return Boolean(next);
  }

  escape() {
    const selection = getSelection();
    if (selection.isCollapsed) this.leave();
    else selection.collapseToEnd();
  }

  move(text, [direction, unit], { shiftKey, ctrlKey, metaKey }) {
    const selection = getSelection();
    const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
    const byWord = (ctrlKey || metaKey) && unit === "character";
    selection.modify(shiftKey ? "extend" : "move", direction, byWord ? "word" : unit);
    if (!text.element.contains(selection.focusNode)) selection.setBaseAndExtent(anchorNode, anchorOffset, focusNode, focusOffset);
    this.draw();
    announce(selection.isCollapsed ? wordAt(selection) : t("Selected: {words}", { words: selection.toString() }));
  }

  draw() {
    const { focusNode, focusOffset } = getSelection();
    const inside = this.isOn && document.activeElement?.contains(focusNode) && this.room.byElement.has(document.activeElement);
    const box = inside && boxAt(focusNode, focusOffset);
    this.caret.hidden = !box;
    if (!box) return;
    this.caret.style.translate = `${box.left}px ${box.top}px`;
    this.caret.style.blockSize = `${box.height}px`;
    if (box.top < 44 || box.bottom > innerHeight) focusNode.parentElement.scrollIntoView({ block: "nearest" });
  }
}

/* The line beside a DOM position. A collapsed range has no box at a line's end or beside an element, but a character has. */
function boxAt(node, offset) {
  const spot = { startContainer: node, startOffset: offset, endContainer: node, endOffset: offset };
  const [own] = liveRange(spot).getClientRects();
  if (own) return own;
  if (node.nodeType !== Node.TEXT_NODE || offset === 0) return null;
  const boxes = liveRange({ ...spot, startOffset: offset - 1 }).getClientRects();
  const last = boxes[boxes.length - 1];
  return last && { left: last.right, top: last.top, bottom: last.bottom, height: last.height };
}

/* What a screen reader says of the caret: the character behind it. */
function wordAt({ focusNode, focusOffset }) {
  if (focusNode?.nodeType !== Node.TEXT_NODE) return "";
  const [first] = new Intl.Segmenter(undefined, { granularity: "grapheme" }).segment(focusNode.data.slice(focusOffset, focusOffset + 40));
  return first?.segment ?? "";
}
