/* Media of the texts: lines of time to see and to seek in, and players whose keys stay their own. */

import { t } from "../i18n.js";
import { announce } from "./notice.js";

const COLUMNS = 300;
const MAX_BYTES = 30_000_000;
const STEP_S = 5;
const NUDGE_S = 0.1;
const SEEK = { ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S, PageDown: -30, PageUp: 30 };
const lines = new WeakMap(); // figure → its line of time

export function wireMedia(room, signal) {
  for (const player of room.querySelectorAll("audio, video")) {
    // a player in focus uses arrows, space, f and so on itself: they are no keys of the room
    player.addEventListener("keydown", (event) => event.stopPropagation(), { signal });
  }
  for (const figure of room.querySelectorAll('[data-media="audio"]')) lineOf(figure, signal);
}

/** The line of time of a figure with audio or video. A video's is hidden until something is marked on it. */
export function lineOf(figure, signal) {
  if (!lines.has(figure)) lines.set(figure, new Timeline(figure, signal));
  return lines.get(figure);
}

class Timeline {
  constructor(figure, signal) {
    Object.assign(this, { figure, signal, peaks: [] });
    this.canvas = figure.querySelector("[data-waveform]");
    this.player = figure.querySelector("audio, video");
    for (const name of ["timeupdate", "seeked", "loadedmetadata", "durationchange"]) {
      this.player.addEventListener(name, () => this.draw(), { signal });
    }
    this.player.addEventListener("loadedmetadata", () => this.measure(), { signal });
    this.measure();
    this.canvas.addEventListener("keydown", (event) => this.onKey(event), { signal });
    this.canvas.addEventListener("pointerdown", (event) => this.onPointer(event), { signal });
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      if (figure.dataset.media === "audio") this.load();
    });
    seen.observe(this.canvas);
    const sized = new ResizeObserver(() => this.draw());
    sized.observe(this.canvas);
    signal.addEventListener("abort", () => (seen.disconnect(), sized.disconnect()));
  }

  /* Recordings of browsers do not say how long they are; a player knows once it was at the end. */
  measure() {
    const { player } = this;
    if (player.duration !== Infinity) return;
    player.addEventListener("durationchange", () => (player.currentTime = 0), { once: true, signal: this.signal });
    player.currentTime = Number.MAX_SAFE_INTEGER;
  }

  /** Milliseconds, 0 while it is not known. */
  get duration() {
    return Number.isFinite(this.player.duration) ? Math.floor(this.player.duration * 1000) : 0;
  }

  get now() {
    return Math.min(Math.round(this.player.currentTime * 1000), this.duration);
  }

  /** The place under the pointer. */
  at(clientX) {
    const { left, width } = this.canvas.getBoundingClientRect();
    return Math.round(Math.min(1, Math.max(0, (clientX - left) / width)) * this.duration);
  }

  /** Play [start, end), in milliseconds. */
  play(start, end) {
    const { player } = this;
    this.playing?.abort();
    const { signal } = (this.playing = new AbortController());
    this.seek(start / 1000);
    const watch = () => {
      if (signal.aborted || player.paused) return;
      if (player.currentTime * 1000 >= end) player.pause();
      else requestAnimationFrame(watch);
    };
    this.start().then(watch);
  }

  async start() {
    try {
      await this.player.play();
    } catch (error) {
      if (error.name !== "AbortError") announce(t("This file cannot be played"));
    }
  }

  /* The peaks are computed here, from our own origin. A file that is too long or cannot be decoded keeps a plain line. */
  async load() {
    try {
      const response = await fetch(this.player.currentSrc || this.player.src, { signal: this.signal });
      if (!response.ok || Number(response.headers.get("Content-Length")) > MAX_BYTES) return;
      const decoder = new OfflineAudioContext(1, 1, 8000);
      this.peaks = peaksOf((await decoder.decodeAudioData(await response.arrayBuffer())).getChannelData(0));
      this.canvas.dataset.ready = "";
    } catch (error) {
      if (!(error instanceof DOMException || error instanceof TypeError)) throw error;
    }
    this.draw();
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { player } = this;
    const by = event.shiftKey ? Math.sign(SEEK[event.key]) * NUDGE_S : SEEK[event.key];
    const to = { Home: 0, End: player.duration }[event.key] ?? (event.key in SEEK ? player.currentTime + by : null);
    if (event.key === " " || event.key === "Enter") player.paused ? this.start() : player.pause();
    else if (to !== null) this.seek(to);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  onPointer(event) {
    if (event.button === 0) this.seek(this.at(event.clientX) / 1000);
  }

  seek(seconds) {
    const { player } = this;
    if (Number.isFinite(player.duration)) player.currentTime = Math.min(Math.max(0, seconds), player.duration);
  }

  draw() {
    const { canvas, player } = this;
    const duration = Number.isFinite(player.duration) ? player.duration : 0;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * devicePixelRatio));
    if (!width) return;
    Object.assign(canvas, { width, height });
    canvas.setAttribute("aria-valuemax", duration.toFixed(1));
    canvas.setAttribute("aria-valuenow", player.currentTime.toFixed(1));
    canvas.setAttribute("aria-valuetext", `${clock(player.currentTime)} / ${clock(duration)}`);
    const style = getComputedStyle(canvas);
    const pen = canvas.getContext("2d");
    const peaks = narrowed(this.peaks, Math.floor(width / (3 * devicePixelRatio)));
    const bar = width / peaks.length;
    const played = duration ? player.currentTime / duration : 0;
    for (const [i, peak] of peaks.entries()) {
      const tall = Math.max(devicePixelRatio, peak * height);
      pen.fillStyle = i / peaks.length < played ? style.accentColor : style.color;
      pen.fillRect(i * bar, (height - tall) / 2, Math.max(1, bar * 0.7), tall);
    }
  }
}

/* The loudest sample of each column, with the loudest of all as 1. */
function peaksOf(samples) {
  const size = Math.max(1, Math.floor(samples.length / COLUMNS));
  const peaks = Array.from({ length: COLUMNS }, (_, column) => {
    let peak = 0;
    for (let i = column * size; i < Math.min((column + 1) * size, samples.length); i++) peak = Math.max(peak, Math.abs(samples[i]));
    return peak;
  });
  const loudest = Math.max(...peaks) || 1;
  return peaks.map((peak) => peak / loudest);
}

/* As many bars as there is room for, each as tall as the tallest that it stands for. */
function narrowed(peaks, most) {
  const bars = new Array(Math.max(1, Math.min(COLUMNS, most))).fill(0);
  for (const [i, peak] of peaks.entries()) {
    const bar = Math.floor((i * bars.length) / peaks.length);
    bars[bar] = Math.max(bars[bar], peak);
  }
  return bars;
}

function clock(seconds) {
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
}
