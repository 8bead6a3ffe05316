/* The budget control of a routing plan: money on the slider, the predicted metric on the curve. */

import { onThemeChange } from "./palette.js";
import * as plot from "./plot.js";

/**
 * The value of a piecewise linear curve at `x`, held constant outside it. `points` are [x, y], sorted by x.
 */
export function interpolate(points, x) {
  if (points.length === 0) return null;
  if (x <= points[0][0]) return points[0][1];
  const after = points.findIndex(([px]) => px >= x);
  if (after === -1) return points.at(-1)[1];
  const [[x0, y0], [x1, y1]] = [points[after - 1], points[after]];
  return x1 === x0 ? y1 : y0 + ((y1 - y0) * (x - x0)) / (x1 - x0);
}

/** Everything the readout says at one budget. */
export function readoutAt(curve, budget) {
  const at = (name) => interpolate(curve.points.map((p) => [p.budget, p[name]]), budget);
  const random = interpolate(curve.references.random, budget);
  const mean = at("mean");
  return { mean, low: at("low"), high: at("high"), human: at("human_share"), gain: random === null ? null : mean - random };
}

function seriesOf(curve) {
  const { points, references } = curve;
  const across = (value) => [[points[0].budget, value], [points.at(-1).budget, value]];
  return [
    {
      name: "this plan",
      tone: "accent",
      points: points.map((p) => [p.budget, p.mean]),
      band: points.map((p) => [p.budget, p.low, p.high]),
    },
    { name: "random", tone: "muted", dash: true, points: references.random },
    { name: "all judge", tone: "judge", dash: true, points: across(references.all_judge) },
    { name: "all people", tone: "human", dash: true, points: across(references.all_human) },
  ].filter((series) => series.points.length > 0 && series.points.every(([, y]) => y !== null && y !== undefined));
}

export function mountBudget(section) {
  const curve = JSON.parse(document.getElementById(section.dataset.source).textContent);
  if (curve.points.length === 0) return;
  new Budget(section, curve).start();
}

class Budget {
  constructor(section, curve) {
    this.section = section;
    this.curve = curve;
    this.host = section.querySelector(".chart-plot");
    this.slider = section.querySelector("[data-budget-slider]");
    this.number = section.querySelector("[data-budget-number]");
    this.money = new Intl.NumberFormat(undefined, { style: "currency", currency: curve.currency ?? "USD" });
    this.budget = Number(this.number.value) || 0;
  }

  start() {
    const low = this.curve.points[0].budget;
    const high = this.curve.points.at(-1).budget;
    const step = Math.max((high - low) / 200, 0.01);
    Object.assign(this.slider, { min: low, max: high, step: step.toFixed(2), value: this.budget });
    Object.assign(this.number, { min: low, max: high, step: "any" });
    this.slider.addEventListener("input", () => this.moveTo(Number(this.slider.value), this.number));
    this.number.addEventListener("input", () => this.moveTo(Number(this.number.value), this.slider));
    plot.wireTable(this.section, (box) => plot.table(box, "Budget", seriesOf(this.curve)));
    this.section.querySelector("[data-chart-table]")?.addEventListener("click", () => this.redraw());
    onThemeChange(() => this.redraw());
    new ResizeObserver(() => this.onResize()).observe(this.host);
    this.moveTo(this.budget, null);
    this.redraw();
  }

  moveTo(budget, other) {
    this.budget = budget;
    if (other) other.value = String(budget);
    const now = readoutAt(this.curve, budget);
    this.say("money", this.money.format(budget));
    this.say("mean", plot.tidy(now.mean));
    this.say("band", `95%: ${plot.tidy(now.low)} – ${plot.tidy(now.high)}`);
    this.say("human", `${Math.round(now.human * 100)}%`);
    this.say("judge", `${100 - Math.round(now.human * 100)}% by the judge`);
    this.say("gain", now.gain === null ? "–" : `${now.gain >= 0 ? "+" : "−"}${plot.tidy(Math.abs(now.gain))}`);
    this.slider.setAttribute("aria-valuetext", `${this.money.format(budget)}, predicted ${plot.tidy(now.mean)}`);
    this.plot?.redraw(false);
  }

  say(part, words) {
    this.section.querySelector(`[data-budget-${part}]`).textContent = words;
  }

  onResize() {
    if (this.host.clientWidth && this.host.clientWidth !== this.width) this.redraw();
  }

  redraw() {
    if (this.host.hidden || this.host.clientWidth === 0) return;
    this.width = this.host.clientWidth;
    this.plot?.destroy();
    this.plot = plot.draw(this.host, seriesOf(this.curve), {
      xLabel: "",
      xFormat: (value) => this.money.format(value).replace(/\.00$/, ""),
      marker: () => ({ x: this.budget, y: readoutAt(this.curve, this.budget).mean }),
    });
  }
}
