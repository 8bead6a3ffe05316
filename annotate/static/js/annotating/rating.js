/* A rating question on the screen: every scale has one line for each completion, or one for the instance. */

import { t } from "../i18n.js";
import { Control, allowClearing } from "./control.js";
import { toScreen, toStored } from "./order.js";

const DIGIT = /^[0-9]$/;
const TYPING_MS = 1500; // digits this close together are one number

export class Rating extends Control {
  constructor(section, question, context) {
    super(section, question, context);
    this.perCompletion = question.per === "completion";
    this.slides = question.widget === "slider";
    this.typed = { row: null, digits: "", at: 0 };
    for (const row of this.rows) {
      if (this.slides) this.wireSlider(row.querySelector("input"));
      else allowClearing(row, !question.required);
    }
  }

  /** A slider says nothing until it is touched, and a touch without a move means where it stands. */
  wireSlider(slider) {
    const set = () => slider.parentElement.classList.remove("is-unset");
    const { signal } = this;
    slider.addEventListener("input", set, { signal });
    slider.addEventListener("click", () => {
      if (valueOf(slider.closest("[data-row]")) !== null) return;
      set();
      this.changed(slider.closest("[data-row]"));
    }, { signal });
  }

  read() {
    const ratings = {};
    for (const { name } of this.question.scales) {
      const values = this.lines(name).map(valueOf);
      if (values.some((value) => value !== null)) ratings[name] = this.perCompletion ? toStored(values, this.order) : values;
    }
    return Object.keys(ratings).length ? { ratings } : null;
  }

  write(stored) {
    for (const { name } of this.question.scales) {
      const values = stored?.ratings?.[name] ?? [];
      const shown = this.perCompletion ? toScreen(values, this.order) : values;
      this.lines(name).forEach((row, position) => this.show(row, shown[position] ?? null));
    }
  }

  show(row, value) {
    if (!this.slides) {
      for (const input of row.querySelectorAll("input")) input.checked = Number(input.value) === value;
      return;
    }
    const slider = row.querySelector("input");
    slider.value = value ?? (Number(slider.min) + Number(slider.max)) / 2;
    slider.parentElement.classList.toggle("is-unset", value === null);
  }

  lines(scale) {
    return this.rows.filter((row) => row.dataset.scale === scale);
  }

  missing() {
    return this.question.required && this.gap() ? t("Rate everything") : "";
  }

  /** The first line without a value: where somebody is sent who submits too early. */
  gap() {
    return this.rows.find((row) => valueOf(row) === null) ?? null;
  }

  summary() {
    const means = this.rows.map(valueOf).filter((value) => value !== null);
    return this.rows.length <= 4 ? means.join(" · ") : t("{n} of {all} rated", { n: means.length, all: this.rows.length });
  }

  describe() {
    if (this.slides) for (const row of this.rows) describeSlider(row);
    for (const total of this.section.querySelectorAll("[data-total]")) this.describeTotal(total);
  }

  /** The weighted sum of one completion so far, out of what it could be. */
  describeTotal(total) {
    const rated = this.question.scales.map(({ name, weight, high }) => ({
      weight,
      high,
      value: valueOf(this.lines(name)[Number(total.dataset.total)]),
    }));
    const sum = rated.reduce((all, { weight, value }) => all + weight * (value ?? 0), 0);
    const most = rated.reduce((all, { weight, high }) => all + weight * high, 0);
    total.textContent = rated.every(({ value }) => value === null) ? "–" : t("{sum} of {most}", { sum: short(sum), most: short(most) });
    total.classList.toggle("is-running", rated.some(({ value }) => value === null));
  }

  /** A digit rates the current line and goes to the next; a slider takes the digits of its number one by one. */
  press(row, key) {
    if (!DIGIT.test(key)) return false;
    if (this.slides) return this.type(row, key);
    const scale = this.question.scales.find(({ name }) => name === row.dataset.scale);
    const value = key === "0" && scale.low > 0 ? 10 : Number(key);
    const input = row.querySelector(`input[value="${value}"]`);
    if (!input) return false;
    input.checked = true;
    this.changed(row);
    const next = this.rows[this.rows.indexOf(row) + 1] ?? row;
    (next.querySelector("input:checked") ?? next.querySelector("input")).focus();
    return true;
  }

  type(row, key) {
    const slider = row.querySelector("input");
    const now = performance.now();
    const goesOn = this.typed.row === row && now - this.typed.at < TYPING_MS;
    const longer = goesOn ? this.typed.digits + key : key;
    const digits = Number(longer) <= Number(slider.max) ? longer : key;
    this.typed = { row, digits, at: now };
    if (Number(digits) < Number(slider.min) || Number(digits) > Number(slider.max)) return true;
    this.show(row, Number(digits));
    this.changed(row);
    return true;
  }
}

function valueOf(row) {
  const slider = row.querySelector('input[type="range"]');
  if (slider) return slider.parentElement.classList.contains("is-unset") ? null : Number(slider.value);
  const checked = row.querySelector("input:checked");
  return checked ? Number(checked.value) : null;
}

function describeSlider(row) {
  const value = valueOf(row);
  const slider = row.querySelector("input");
  row.querySelector("output").textContent = value ?? "–";
  slider.style.setProperty("--at", value === null ? "0%" : `${(100 * (value - slider.min)) / (slider.max - slider.min)}%`);
  slider.setAttribute("aria-valuetext", value === null ? t("Not rated") : String(value));
}

function short(number) {
  return String(Math.round(number * 100) / 100);
}
