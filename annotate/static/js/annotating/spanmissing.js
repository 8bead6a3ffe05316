/* Information that a completion lacks: which completion, what, and maybe the passage that says it, or a part of it. */

import { t } from "../i18n.js";
import { announce } from "./notice.js";
import { SpanCaret } from "./spancaret.js";
import { Painting } from "./spanpaint.js";
import { SpanRoom } from "./spanroom.js";

export class MissingItems {
  /** `row` is the [data-row="missing"] of the question, `element` the room; `changed()` after items came or went. */
  constructor(row, element, { changed, signal }) {
    Object.assign(this, { row, changed });
    this.items = row.querySelector("[data-missing-items]");
    this.template = row.querySelector("[data-missing-item]");
    this.passages = [...element.querySelectorAll("[data-passage]")];
    this.room = new PassageRoom(element, { attribute: "data-passage-text" });
    this.painting = new Painting((passage) => this.room.of(passage));
    this.caret = new SpanCaret(this.room, { entered: (event) => this.onCaretKey(event), signal });
    this.room.listen({ selected: () => this.point(), clicked: () => false, signal });
    row.addEventListener("click", (event) => this.onClick(event), { signal });
    row.addEventListener("change", (event) => this.onChange(event), { signal, capture: true });
    // selections go to the item that was used last, until another part of the form is used
    const form = row.closest("form");
    form.addEventListener("focusin", ({ target }) => (this.current = row.contains(target) ? target.closest(".missing-item") : null), { signal });
    signal.addEventListener("abort", () => this.painting.clear());
  }

  read() {
    return [...this.items.children].map((item) => item.read()).filter((item) => item.text || item.passage !== null);
  }

  write(items) {
    this.painting.clear();
    this.items.replaceChildren();
    for (const item of items) this.add(item);
  }

  add(stored) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const target = item.querySelector("[data-missing-target]");
    const passage = item.querySelector("[data-missing-passage]");
    const text = item.querySelector("[data-missing-text]");
    passage.append(...this.passages.map((one) => new Option(this.titleOf(one), one.dataset.passage)));
    passage.closest("label").hidden = this.passages.length === 0;
    item.querySelector("[data-missing-select]").hidden = this.room.texts.length === 0;
    target.value = String(stored.target ?? target.value);
    text.value = stored.text ?? "";
    item.pointsAt = pointer(stored);
    item.read = () => ({ target: Number(target.value), text: text.value.trim(), ...item.pointsAt });
    this.items.append(item);
    this.describe(item);
    return text;
  }

  /** Parts that items of a question not asked point at are shown on no passage. */
  present(asked) {
    if (!asked) this.painting.clear();
    else for (const item of this.items.children) this.describe(item);
  }

  describe(item) {
    const { passage, start, end } = item.pointsAt;
    const part = { target: passage, start, end };
    const words = start === undefined ? "" : this.room.quote(part);
    item.querySelector("[data-missing-passage]").value = String(passage ?? "");
    item.querySelector("[data-missing-show]").hidden = passage === null || !this.passages.length;
    item.querySelector("[data-missing-part]").hidden = start === undefined;
    item.querySelector("[data-missing-quote]").textContent = words;
    if (start === undefined) this.painting.erase(item);
    else this.painting.paint(item, "span-new", part);
  }

  titleOf(passage) {
    const title = passage.querySelector(".passage-title [dir]")?.textContent.trim() ?? "";
    return t("Passage {n} {title}", { n: Number(passage.dataset.passage) + 1, title }).trim();
  }

  onClick(event) {
    const item = event.target.closest(".missing-item");
    if (event.target.closest("[data-missing-add]")) this.add({}).focus();
    else if (event.target.closest("[data-missing-show]")) this.show(item.pointsAt.passage);
    else if (event.target.closest("[data-missing-select]")) this.select(item);
    else if (event.target.closest("[data-missing-whole]")) this.setPointer(item, { passage: item.pointsAt.passage });
    else if (event.target.closest("[data-missing-delete]")) {
      this.painting.erase(item);
      item.remove();
      this.row.querySelector("[data-missing-add]").focus();
      this.changed();
    }
  }

  onChange(event) {
    const item = event.target.closest(".missing-item");
    if (!item || !event.target.matches("[data-missing-passage]")) return;
    const { value } = event.target;
    item.pointsAt = pointer({ passage: value === "" ? null : Number(value) });
    this.describe(item);
  }

  setPointer(item, where) {
    item.pointsAt = pointer(where);
    this.describe(item);
    this.changed();
  }

  /** Begin to select a part: in the passage of the item, or in the first. */
  select(item) {
    this.current = item;
    const passage = item.pointsAt.passage ?? this.room.targets[0];
    this.show(passage);
    this.caret.enter(this.room.of(passage)[0]);
  }

  /** What is selected in a passage is where the item that was used last points. */
  point() {
    const item = this.current;
    const selected = this.room.selected();
    if (!selected || !item?.isConnected) return false;
    const { target: passage, start, end } = selected;
    this.caret.leave();
    getSelection().removeAllRanges();
    this.setPointer(item, { passage, start, end, sentences: this.room.sentences(selected) });
    announce(t("Points at: {words}", { words: this.room.quote(selected) }));
    item.querySelector("[data-missing-text]").focus({ preventScroll: true });
    return true;
  }

  onCaretKey({ key }) {
    if (key !== "Enter") return false;
    if (!this.point()) announce(t("Nothing is selected"));
    return true;
  }

  show(index) {
    const passage = this.passages.find((one) => Number(one.dataset.passage) === index);
    if (!passage) return;
    passage.open = true;
    passage.scrollIntoView({ block: "center" });
    passage.querySelector("summary")?.focus({ preventScroll: true });
  }
}

/* The passages as texts in which parts can be selected; their targets are their indexes. */
class PassageRoom extends SpanRoom {
  nameOf(passage) {
    return t("Passage {n} {title}", { n: passage + 1, title: "" }).trim();
  }

  /** The indexes of the sentences that [start, end) of a passage touches, where it comes in sentences. */
  sentences({ target, start, end }) {
    const pieces = this.of(target)[0].pieces.filter((piece) => piece.start < end && start < piece.end);
    const numbers = pieces.map(({ node }) => node.parentElement.closest("[data-sentence]")?.dataset.sentence);
    return [...new Set(numbers)].filter((number) => number !== undefined).map(Number);
  }
}

/* Where an item points, as it is stored: `start` and `end` only with a part. */
function pointer({ passage = null, sentences = [], start, end }) {
  return { passage, sentences, ...(start !== undefined && { start, end }) };
}
