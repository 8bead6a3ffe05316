/* One way to draw lines: thin, named at their ends, bands for intervals, readable in both themes. Needs uPlot. */

import { colour, faded, seriesColour } from "./palette.js";

const FONT = "12px ui-sans-serif, system-ui, sans-serif";

/**
 * Put series of [x, y] points on one x axis: {xs, ys} with null where a series has no point.
 * Series are {name, points, band?, tone?, dash?}; a band is [[x, low, high], …].
 */
export function align(series) {
  const xs = [...new Set(series.flatMap((s) => s.points.map(([x]) => x)))].sort((a, b) => a - b);
  const column = (pairs) => {
    const at = new Map(pairs);
    return xs.map((x) => at.get(x) ?? null);
  };
  return { xs, ys: series.map((s) => column(s.points)), column };
}

/** Draw `series` into `host`, replacing what is there; returns the uPlot instance. */
export function draw(host, series, { xLabel = "", yLabel = "", format = tidy, xFormat = tidy, marker = null, onCursor = null } = {}) {
  const { xs, ys, column } = align(series);
  const colours = series.map((s, i) => seriesColour(s.tone, i));
  const data = [xs, ...ys];
  const lines = [{}, ...series.map((s, i) => line(s, colours[i]))];
  const bands = [];
  series.forEach((s, i) => {
    if (!s.band) return;
    data.push(column(s.band.map(([x, , high]) => [x, high])), column(s.band.map(([x, low]) => [x, low])));
    lines.push(hidden(), hidden());
    bands.push({ series: [lines.length - 2, lines.length - 1], fill: faded(colours[i], 0.14) });
  });
  const options = {
    width: host.clientWidth || 600,
    height: Math.max(220, Math.min(320, Math.round((host.clientWidth || 600) * 0.5))),
    padding: [12, labelWidth(series), 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 7 } },
    scales: { x: { time: false }, y: { range: padded } },
    axes: [{ ...axis(xLabel, xFormat), size: 26 }, { ...axis(yLabel, format), size: besideTicks }],
    series: lines,
    bands,
    hooks: {
      draw: [(plot) => nameEnds(plot, series, colours), (plot) => drawMarker(plot, marker)],
      setCursor: onCursor ? [(plot) => onCursor(plot.cursor.idx, xs, series, ys)] : [],
    },
  };
  host.replaceChildren();
  return new globalThis.uPlot(options, data, host);
}

/** A number as people read it: three significant digits, thousands with a comma. */
export function tidy(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && size < 0.001) return value.toExponential(1);
  return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 3 });
}

function line(series, stroke) {
  return {
    label: series.name,
    stroke,
    width: 1.75,
    dash: series.dash ? [5, 4] : undefined,
    spanGaps: true,
    points: { show: series.points.length === 1, size: 6 },
  };
}

function hidden() {
  return { stroke: "transparent", width: 0, points: { show: false }, spanGaps: true };
}

function axis(label, format) {
  return {
    label: label || undefined,
    labelSize: label ? 20 : 0,
    labelFont: FONT,
    font: FONT,
    stroke: colour("--ink-3"),
    grid: { stroke: colour("--line"), width: 1 },
    ticks: { show: false },
    gap: 6,
    space: 56,
    values: (_, splits) => splits.map((value) => (value === null ? "" : format(value))),
  };
}

function padded(_, low, high) {
  if (low === null || high === null) return [0, 1];
  const room = (high - low || Math.abs(high) || 1) * 0.08;
  return [low - room, high + room];
}

function labelWidth(series) {
  return Math.max(0, ...series.map((s) => widthOf(clip(s.name, 22), nameFont(1)))) + 16;
}

/* Room for the longest number of the axis: a run's speed has five digits. uPlot asks once before there are any. */
function besideTicks(_, ticks) {
  return Math.max(44, ...(ticks ?? []).map((words) => widthOf(words, FONT) + 14));
}

const nameFont = (ratio) => `550 ${12 * ratio}px ui-sans-serif, system-ui, sans-serif`;
const paper = document.createElement("canvas").getContext("2d");

function widthOf(words, font) {
  paper.font = font;
  return paper.measureText(words).width;
}

function nameEnds(plot, series, colours) {
  const { ctx } = plot;
  const ratio = devicePixelRatio || 1;
  const ends = series
    .map((s, i) => ({ name: s.name, colour: colours[i], y: endOf(plot, i + 1) }))
    .filter((end) => end.y !== null)
    .sort((a, b) => a.y - b.y);
  spread(ends, 15 * ratio);
  ctx.save();
  ctx.font = nameFont(ratio);
  ctx.textBaseline = "middle";
  ctx.textAlign = "left";
  for (const end of ends) {
    ctx.fillStyle = end.colour;
    ctx.fillText(clip(end.name, 22), plot.bbox.left + plot.bbox.width + 8 * ratio, end.y);
  }
  ctx.restore();
}

function endOf(plot, index) {
  const last = plot.data[index].findLast((value) => value !== null);
  return last === undefined ? null : plot.valToPos(last, "y", true);
}

/* Push labels apart downwards, then back up by half of what the last one moved, so the group stays centred. */
function spread(ends, gap) {
  let moved = 0;
  for (let i = 1; i < ends.length; i += 1) {
    const wanted = ends[i - 1].y + gap;
    if (ends[i].y < wanted) {
      moved = Math.max(moved, wanted - ends[i].y);
      ends[i].y = wanted;
    }
  }
  for (const end of ends) end.y -= moved / 2;
}

function clip(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

function drawMarker(plot, marker) {
  const at = marker?.();
  if (!at) return;
  const { ctx } = plot;
  const ratio = devicePixelRatio || 1;
  const x = plot.valToPos(at.x, "x", true);
  const y = plot.valToPos(at.y, "y", true);
  ctx.save();
  ctx.strokeStyle = colour("--ink-3");
  ctx.setLineDash([3 * ratio, 3 * ratio]);
  ctx.beginPath();
  ctx.moveTo(x, plot.bbox.top);
  ctx.lineTo(x, plot.bbox.top + plot.bbox.height);
  ctx.stroke();
  ctx.setLineDash([]);
  ctx.beginPath();
  ctx.arc(x, y, 6 * ratio, 0, 2 * Math.PI);
  ctx.fillStyle = colour("--accent");
  ctx.fill();
  ctx.lineWidth = 2 * ratio;
  ctx.strokeStyle = colour("--surface");
  ctx.stroke();
  ctx.restore();
}

/** Fill `box` with the numbers of a chart as a table. */
export function table(box, xLabel, series, format = tidy) {
  const { xs, ys } = align(series);
  const element = document.createElement("table");
  element.className = "table";
  const head = element.createTHead().insertRow();
  for (const name of [xLabel || "x", ...series.map((s) => s.name)]) {
    head.append(Object.assign(document.createElement("th"), { textContent: name, scope: "col", className: "numeric" }));
  }
  const body = element.createTBody();
  xs.forEach((x, row) => {
    const line = body.insertRow();
    for (const value of [tidy(x), ...ys.map((column) => format(column[row]))]) {
      Object.assign(line.insertCell(), { textContent: value, className: "numeric" });
    }
  });
  box.replaceChildren(element);
}

/** Wire a "Show table" button inside `figure`; `fill` is called with the box each time it opens. */
export function wireTable(figure, fill) {
  const button = figure.querySelector("[data-chart-table]");
  const box = figure.querySelector(".chart-table");
  const plot = figure.querySelector(".chart-plot");
  button?.addEventListener("click", () => {
    box.hidden = !box.hidden;
    plot.hidden = !box.hidden;
    button.textContent = box.hidden ? "Show table" : "Show chart";
    button.setAttribute("aria-expanded", String(!box.hidden));
    if (!box.hidden) fill(box);
  });
}
