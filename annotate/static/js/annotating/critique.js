/* A critique question on the screen: a text per completion, and where it is asked a refinement of the completion. */

import { t } from "../i18n.js";
import { Control } from "./control.js";
import { toScreen, toStored } from "./order.js";
import { Refinement } from "./refinement.js";

export class Critique extends Control {
  constructor(section, question, context) {
    super(section, question, context);
    this.boxes = this.rows.map((row) => row.querySelector("textarea"));
    this.refinements = question.ask_refinement ? this.mountRefinements() : [];
    section.addEventListener("click", (event) => this.onClick(event), { signal: this.signal });
  }

  mountRefinements() {
    const panels = this.element.querySelectorAll(`[data-refining="${CSS.escape(this.name)}"] [data-refinement]`);
    const sources = this.element.querySelectorAll(".completion .raw");
    return [...panels].map((panel, position) => new Refinement(panel, {
      original: sources[position].textContent,
      crlf: "crlf" in sources[position].dataset,
      changed: () => this.changed(),
      signal: this.signal,
    }));
  }

  present(asked) {
    super.present(asked);
    const panels = this.element.querySelector(`[data-refining="${CSS.escape(this.name)}"]`);
    if (panels) panels.hidden = !asked;
  }

  read() {
    const critiques = this.boxes.map((box) => (box.value.trim() ? box.value : ""));
    const refinements = this.refinements.map((refinement) => refinement.read());
    if (!critiques.some(Boolean) && refinements.every((text) => text === null)) return null;
    return { critiques: toStored(critiques, this.order), refinements: toStored(refinements, this.order.slice(0, refinements.length)) };
  }

  write(stored) {
    const critiques = toScreen(stored?.critiques ?? [], this.order);
    const refinements = toScreen(stored?.refinements ?? [], this.order);
    this.boxes.forEach((box, position) => (box.value = critiques[position] ?? ""));
    this.refinements.forEach((refinement, position) => refinement.write(refinements[position] ?? null));
  }

  missing() {
    return this.question.required && !this.boxes.some((box) => box.value.trim()) ? t("Write a critique") : "";
  }

  summary() {
    const { critiques, refinements } = this.read();
    const written = critiques.filter(Boolean).length;
    const refined = refinements.filter((text) => text !== null).length;
    return [written && t("{n} written", { n: written }), refined && t("{n} refined", { n: refined })].filter(Boolean).join(", ");
  }

  describe() {
    for (const [position, row] of this.rows.entries()) {
      const { isOpen } = this.refinements[position] ?? {};
      row.querySelector("[data-refine]")?.setAttribute("aria-expanded", String(Boolean(isOpen)));
    }
  }

  onClick(event) {
    const row = event.target.closest("[data-refine]")?.closest("[data-row]");
    if (row) this.refine(row);
  }

  refine(row) {
    this.refinements[this.rows.indexOf(row)].open();
    this.describe();
  }

  press(row, key) {
    if (key !== "e" || !this.refinements.length) return false;
    this.refine(row);
    return true;
  }

  /* An error of a text or its refinement stands at its row, one of the whole answer at the first. */
  showErrors(errors) {
    const whole = errors[""] ?? errors.critiques ?? errors.refinements;
    const byRow = Object.entries(errors).map(([path, words]) => [path.replace("refinements.", "critiques."), words]);
    return super.showErrors({ ...Object.fromEntries(byRow), ...(whole && { "": whole }) });
  }
}
