/* A preference question on the screen: strength rows (overall and aspects), confidence, reasons. */

import { t } from "../i18n.js";
import { Control, allowClearing } from "./control.js";
import { reordered } from "./order.js";

const DIGIT = /^[0-9]$/;

export class Preference extends Control {
  constructor(section, question, context) {
    super(section, question, context);
    this.main = section.querySelector(".strength-main");
    for (const row of this.strengthRows()) this.printKeys(row);
    for (const row of this.rows) allowClearing(row, row !== this.main);
  }

  strengthRows() {
    return this.rows.filter((row) => row.dataset.row === "strength");
  }

  /** The answer in stored order, or null when nothing was said. */
  read() {
    const aspects = {};
    for (const row of this.strengthRows()) {
      if (row !== this.main && valueOf(row)) aspects[row.dataset.aspect] = valueOf(row);
    }
    const confidence = valueOf(this.row("confidence"));
    const answer = {
      value: valueOf(this.main),
      aspects,
      confidence: confidence ? Number(confidence) : null,
      reasons: this.reasonBoxes().filter((box) => box.checked).map((box) => box.value),
      other_reason: this.otherReason()?.value.trim() ?? "",
    };
    return isBlank(answer) ? null : reordered(answer, this.order);
  }

  /** Show an answer that is in stored order (null: clear). */
  write(stored) {
    const answer = reordered(stored ?? { value: "", aspects: {} }, this.order);
    for (const row of this.strengthRows()) {
      choose(row, row === this.main ? answer.value : answer.aspects?.[row.dataset.aspect]);
    }
    choose(this.row("confidence"), answer.confidence && String(answer.confidence));
    for (const box of this.reasonBoxes()) box.checked = (answer.reasons ?? []).includes(box.value);
    if (this.otherReason()) this.otherReason().value = answer.other_reason ?? "";
  }

  /** What is still needed, in words; empty when the answer is complete. */
  missing() {
    const needed = this.question.required || this.read() !== null;
    return needed && !valueOf(this.main) ? t("Choose a preference") : "";
  }

  /** The preferred completion is marked, by its position on the screen. */
  marks() {
    const side = valueOf(this.main).match(/^([ab])-is-/)?.[1];
    return side ? { [side === "a" ? 0 : 1]: { words: t("Preferred"), chosen: true } } : {};
  }

  summary() {
    return labelOf(this.main);
  }

  /** Bring the words beside the strength rows up to date. */
  describe() {
    for (const row of this.strengthRows()) row.querySelector("[data-words]").textContent = labelOf(row);
  }

  inputFor(row, key) {
    return row.dataset.row === "strength" ? this.strengthInput(row, key) : super.inputFor(row, key);
  }

  strengthInput(row, key) {
    const pick = (value) => row.querySelector(`input[value="${value}"]`);
    if (key === "0") return pick("tie");
    if (key === "c") return pick("cannot-judge");
    if (key === this.bothBadKey()) return pick("both-bad");
    if (this.question.steps === 3) return { 1: pick("a-is-better"), 2: pick("b-is-better") }[key] ?? null;
    return DIGIT.test(key) ? row.querySelectorAll(".segment > input")[Number(key) - 1] ?? null : null;
  }

  bothBadKey() {
    return this.question.steps === 9 ? "b" : "9";
  }

  printKeys(row) {
    const threeSteps = ["1", "0", "2"];
    row.querySelectorAll(".segment > [data-key]").forEach((key, i) => {
      key.textContent = this.question.steps === 3 ? threeSteps[i] : String(i + 1);
    });
  }

  pathOf(row) {
    return row.dataset.aspect ? `aspects.${row.dataset.aspect}` : super.pathOf(row);
  }

  row(name) {
    return this.rows.find((row) => row.dataset.row === name) ?? null;
  }

  reasonBoxes() {
    return [...this.section.querySelectorAll('.ticks input[type="checkbox"]')];
  }

  otherReason() {
    return this.section.querySelector(".other-reason");
  }
}

function isBlank(answer) {
  const words = answer.value || answer.other_reason || answer.confidence;
  return !words && Object.keys(answer.aspects).length === 0 && answer.reasons.length === 0;
}

function valueOf(row) {
  return row?.querySelector("input:checked")?.value ?? "";
}

function labelOf(row) {
  return row.querySelector("input:checked")?.getAttribute("aria-label") ?? "";
}

function choose(row, value) {
  if (!row) return;
  for (const input of row.querySelectorAll('input[type="radio"]')) input.checked = input.value === value;
}
