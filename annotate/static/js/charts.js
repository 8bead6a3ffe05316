/* Mounts line charts (`data-chart="line"`) and budget controls (`data-budget`), on load and after htmx swaps. */

import { mountBudget } from "./budget.js";
import { onThemeChange } from "./palette.js";
import * as plot from "./plot.js";

const mounted = new WeakSet();

class LineChart {
  constructor(figure) {
    this.figure = figure;
    this.host = figure.querySelector(".chart-plot");
    this.readout = figure.querySelector(".chart-readout");
    this.series = [];
    const digits = Number(figure.dataset.digits);
    this.format = digits ? (value) => (value === null ? "–" : value.toFixed(digits)) : plot.tidy;
    plot.wireTable(figure, (box) => plot.table(box, figure.dataset.xLabel, this.series, this.format));
    figure.querySelector("[data-chart-table]")?.addEventListener("click", () => this.redraw());
    onThemeChange(() => this.redraw());
    new ResizeObserver(() => this.onResize()).observe(this.host);
  }

  start() {
    const source = document.getElementById(this.figure.dataset.source);
    if (source) this.update(JSON.parse(source.textContent));
    if (this.figure.dataset.url) this.poll();
  }

  async poll() {
    const every = Number(this.figure.dataset.refresh);
    let done = false;
    if (!document.hidden) done = await this.fetch();
    if (every && !done && this.figure.isConnected) setTimeout(() => this.poll(), every);
  }

  async fetch() {
    try {
      const response = await fetch(this.figure.dataset.url, { headers: { Accept: "application/json" } });
      if (!response.ok) return response.status === 404 || response.status === 403;
      const answer = await response.json();
      this.update(answer);
      return answer.done === true;
    } catch {
      return false; // the network is away: keep the last picture and ask again
    }
  }

  update(answer) {
    this.series = answer.series.filter((series) => series.points.length > 0);
    this.redraw();
    const box = this.figure.querySelector(".chart-table");
    if (box && !box.hidden) plot.table(box, this.figure.dataset.xLabel, this.series, this.format);
  }

  onResize() {
    const width = this.host.clientWidth;
    if (width && width !== this.width) this.redraw();
  }

  redraw() {
    if (this.host.hidden || this.host.clientWidth === 0) return;
    this.width = this.host.clientWidth;
    this.plot?.destroy();
    this.plot = null;
    if (this.series.length === 0) return this.say("No points yet");
    this.plot = plot.draw(this.host, this.series, {
      xLabel: this.figure.dataset.xLabel,
      yLabel: this.figure.dataset.yLabel,
      format: this.format,
      onCursor: (index, xs, series, ys) => this.read(index, xs, series, ys),
    });
    return undefined;
  }

  say(words) {
    this.host.replaceChildren(Object.assign(document.createElement("p"), { className: "chart-empty", textContent: words }));
  }

  read(index, xs, series, ys) {
    if (!this.readout) return;
    if (index === null || index === undefined) {
      this.readout.textContent = "";
      return;
    }
    const values = series.map((s, i) => `${s.name} ${this.format(ys[i][index])}`);
    this.readout.textContent = `${this.figure.dataset.xLabel || "x"} ${plot.tidy(xs[index])}: ${values.join(" · ")}`;
  }
}

function mountAll(root) {
  for (const figure of root.querySelectorAll('[data-chart="line"]')) once(figure, () => new LineChart(figure).start());
  for (const section of root.querySelectorAll("[data-budget]")) once(section, () => mountBudget(section));
}

function once(element, mount) {
  if (mounted.has(element)) return;
  mounted.add(element);
  mount();
}

document.addEventListener("htmx:load", (event) => mountAll(event.detail.elt.parentElement ?? document));
mountAll(document);
