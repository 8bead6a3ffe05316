/* The popover beside a selection or a span: type, subtype, severity, comment, confidence. */

import { t } from "../i18n.js";
import { keysAreOn } from "./keyboard.js";
import { slotOf } from "./spanpaint.js";

const GAP = 8;
const ENDS = ["start_ms", "end_ms"];

export class SpanPopover {
  /**
   * `changed(fields)` is called after every choice once there is a type, `retimed({start_ms, end_ms})` after a change
   * of a time's ends, `play()` and `deleted()` by the buttons, `closed()` when it goes away.
   */
  constructor(element, question, { changed, retimed, play, deleted, closed, signal }) {
    Object.assign(this, { element, question, closed, deleted, changed, retimed, play });
    for (const look of element.querySelectorAll("[data-look]")) look.classList.add(`span-look-${slotOf(Number(look.dataset.look))}`);
    element.addEventListener("input", (event) => (event.target.closest("[data-popover-times]") ? this.readTimes() : this.read()), { signal });
    element.addEventListener("change", () => this.timed && this.showTimes(), { signal });
    element.addEventListener("click", (event) => this.onClick(event), { signal });
    element.addEventListener("keydown", (event) => this.onKey(event), { signal });
    element.addEventListener("pointerdown", (event) => this.remember(event), { signal });
    document.addEventListener("pointerdown", (event) => this.onOutside(event), { signal });
    window.addEventListener("resize", () => this.isOpen && this.settle(), { signal });
  }

  get isOpen() {
    return this.element.matches(":popover-open");
  }

  /** Show `span`, or an empty form for a selection (no type yet), beside the box that `place()` answers, if any;
      `timed`: it is of sound or video. */
  open(span, { quote, place, timed }) {
    Object.assign(this, { span, place, timed });
    this.say(quote);
    this.element.querySelector("[data-popover-times]").hidden = !timed;
    if (timed) this.showTimes();
    this.element.querySelector("[data-popover-delete]").hidden = !span.type;
    const index = this.question.types.findIndex((kind) => kind.name === span.type);
    this.choose("type", index < 0 ? "" : String(index));
    this.offerSubtypes(index, span.subtype ?? "");
    this.choose("severity", span.severity ?? "");
    this.choose("span-confidence", String(span.confidence ?? ""));
    this.field("comment").value = span.comment ?? "";
    if (!this.isOpen) this.element.showPopover();
    this.settle();
    this.element.focus({ preventScroll: true });
  }

  /** What is marked, in words. */
  say(quote) {
    this.element.querySelector("[data-popover-quote]").textContent = quote;
  }

  close() {
    if (!this.isOpen) return;
    this.element.hidePopover();
    this.closed();
  }

  /* Under what it belongs to, else above; CSS makes a sheet of it on narrow screens. */
  settle() {
    const box = this.place();
    const { style } = this.element;
    if (!box || matchMedia("(max-width: 900px)").matches) return void (style.translate = "");
    const { offsetWidth: width, offsetHeight: height } = this.element;
    const below = box.bottom + GAP + height <= innerHeight;
    const top = below ? box.bottom + GAP : Math.max(GAP, Math.min(box.top - GAP - height, innerHeight - height - GAP));
    const left = Math.max(GAP, Math.min(box.left, innerWidth - width - GAP));
    style.translate = `${Math.round(left)}px ${Math.round(top)}px`;
  }

  field(name) {
    return this.element.querySelector(`[name="${CSS.escape(`${this.question.name}.${name}`)}"]`);
  }

  radios(name) {
    return [...this.element.querySelectorAll(`[name="${CSS.escape(`${this.question.name}.${name}`)}"]`)];
  }

  choose(name, value) {
    for (const radio of this.radios(name)) radio.checked = radio.value === value;
  }

  chosen(name) {
    return this.radios(name).find((radio) => radio.checked)?.value ?? "";
  }

  offerSubtypes(index, chosen) {
    const subtypes = this.question.types[index]?.subtypes ?? [];
    const select = this.field("subtype");
    select.replaceChildren(new Option(t("None"), ""), ...subtypes.map((name) => new Option(name, name)));
    select.value = subtypes.includes(chosen) ? chosen : "";
    this.element.querySelector("[data-subtype-field]").hidden = subtypes.length === 0;
  }

  showTimes() {
    for (const end of ENDS) this.field(end).value = String(this.span[end] / 1000);
  }

  readTimes() {
    const [start_ms, end_ms] = ENDS.map((end) => Math.round(this.field(end).valueAsNumber * 1000));
    if (start_ms < end_ms) this.retimed({ start_ms, end_ms }); // not so while one is being typed, or is empty
  }

  read() {
    const index = this.chosen("type");
    if (index === "") return;
    this.offerSubtypes(Number(index), this.field("subtype").value);
    const confidence = this.chosen("span-confidence");
    this.element.querySelector("[data-popover-delete]").hidden = false;
    this.changed({
      type: this.question.types[Number(index)].name,
      subtype: this.field("subtype").value,
      severity: this.chosen("severity"),
      comment: this.field("comment").value.trim(),
      confidence: confidence ? Number(confidence) : null,
    });
  }

  onClick(event) {
    if (event.target.closest("[data-popover-close]")) return this.close();
    if (event.target.closest("[data-popover-delete]")) return this.deleted();
    if (event.target.closest("[data-popover-play]")) return this.play();
    // a second click on a choice takes it back, except for the type
    if (event.target === this.chosenBefore && event.detail > 0 && !event.target.name.endsWith(".type")) {
      event.target.checked = false;
      this.read();
    }
    return undefined;
  }

  remember(event) {
    this.chosenBefore = event.target.closest("label")?.querySelector('input[type="radio"]:checked') ?? null;
  }

  onOutside(event) {
    if (this.isOpen && !this.element.contains(event.target)) this.close();
  }

  onKey(event) {
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches('textarea, select, input[type="number"]');
    if (event.key === "Escape" || (event.key === "Enter" && !(typing && event.shiftKey) && !event.target.closest("button, select"))) this.close();
    else if (typing || !keysAreOn() || !this.pressed(event)) return;
    event.preventDefault();
    event.stopPropagation();
  }

  pressed({ key, code, shiftKey }) {
    if (key === "Delete" || key === "Backspace") {
      this.deleted();
      return true;
    }
    if (code === "KeyP" && this.timed) {
      this.play();
      return true;
    }
    const digit = /^(?:Digit|Numpad)([1-9])$/.exec(code)?.[1];
    const radio = digit && this.radios(shiftKey ? "severity" : "type")[Number(digit) - 1];
    if (!radio) return false;
    radio.checked = true;
    this.read();
    return true;
  }
}
