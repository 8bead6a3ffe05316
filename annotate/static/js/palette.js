/* Colours of the style sheet for canvases: custom properties resolved to what the current theme makes of them. */

const TONES = {
  a: "--a",
  b: "--b",
  accent: "--accent",
  muted: "--ink-3",
  human: "--human",
  judge: "--judge",
  success: "--success",
  danger: "--danger",
};

const probe = document.createElement("span");
probe.hidden = true;

/** The colour behind a custom property, such as `--ink`, as `rgb(…)`. */
export function colour(property) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${property})`;
  return getComputedStyle(probe).color;
}

/** The same colour with another opacity. */
export function faded(rgb, alpha) {
  const [r, g, b] = rgb.match(/[\d.]+/g);
  return `rgb(${r} ${g} ${b} / ${alpha})`;
}

/** The colour of a series: by tone where it has one (the same thing has the same colour everywhere), else by place. */
export function seriesColour(tone, index) {
  return colour(TONES[tone] ?? `--series-${(index % 6) + 1}`);
}

/** Run `redraw` when the theme changes, by toggle or by the system. */
export function onThemeChange(redraw) {
  document.addEventListener("themechange", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
