/* A choice question on the screen: one or several of its options. */

import { t } from "../i18n.js";
import { Control, allowClearing } from "./control.js";

export class Choice extends Control {
  constructor(section, question, context) {
    super(section, question, context);
    if (!question.multiple) allowClearing(this.rows[0], !question.required);
  }

  inputs() {
    return [...this.rows[0].querySelectorAll("input")];
  }

  read() {
    const values = this.inputs().filter((input) => input.checked).map((input) => input.value);
    return values.length ? { values } : null;
  }

  write(stored) {
    const values = stored?.values ?? [];
    for (const input of this.inputs()) input.checked = values.includes(input.value);
  }

  missing() {
    return this.question.required && this.read() === null ? t("Choose an option") : "";
  }

  summary() {
    return this.read()?.values.join(", ") ?? "";
  }
}
