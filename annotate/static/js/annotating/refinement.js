/* The refinement of one completion: its text to be edited, with what changed beside it. */

import { t } from "../i18n.js";
import * as toasts from "../toasts.js";
import { drawDiff } from "./diffview.js";

const QUIET_MS = 150;

export class Refinement {
  /** `panel` is the completion's [data-refinement], `original` its source; `changed()` is called after every edit. */
  constructor(panel, { original, crlf, changed, signal }) {
    Object.assign(this, { panel, original, crlf, changed });
    this.box = panel.querySelector("[data-refined]");
    this.diff = panel.querySelector("[data-diff]");
    this.words = panel.querySelector("[data-changes]");
    this.box.addEventListener("input", () => this.edited(), { signal });
    panel.addEventListener("click", (event) => this.onClick(event), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.timer));
  }

  /** The refined text, or null when it is not there or says what the completion says. */
  read() {
    if (!this.isOpen || this.box.value === this.original) return null;
    return this.crlf ? this.box.value.replaceAll("\n", "\r\n") : this.box.value;
  }

  write(text) {
    this.panel.hidden = text === null;
    this.box.value = (text ?? this.original).replaceAll("\r\n", "\n");
    if (this.isOpen) this.draw();
  }

  get isOpen() {
    return !this.panel.hidden;
  }

  /** Go to the text; a first time it is the completion's. */
  open() {
    if (!this.isOpen) {
      this.write(this.original);
      this.box.setSelectionRange(0, 0);
    }
    this.box.focus({ preventScroll: true });
    this.panel.scrollIntoView({ block: "nearest" });
  }

  onClick(event) {
    const act = event.target.closest("[data-refinement-act]")?.dataset.refinementAct;
    if (!act) return;
    const before = this.read();
    this.write(act === "reset" ? this.original : null);
    if (act === "reset") this.box.focus();
    this.changed();
    if (before !== null) this.offerUndo(act === "reset" ? t("Reset to the original") : t("Refinement removed"), before);
  }

  offerUndo(words, before) {
    const run = () => {
      toast.remove();
      this.write(before);
      this.changed();
      this.box.focus();
    };
    const toast = toasts.show(words, { action: { label: t("Undo"), run } });
  }

  edited() {
    this.changed();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.draw(), QUIET_MS);
  }

  async draw() {
    const text = this.box.value;
    const found = await drawDiff(this.diff, this.original, text);
    if (!found) return;
    const { gone, added, cut, failed } = found;
    const changes = text === this.original ? t("Not changed yet") : t("Words removed: {gone}, added: {added}", { gone, added });
    this.words.textContent = failed ?? (cut ? `${changes}. ${t("Rewritten passages are shown whole.")}` : changes);
  }
}
