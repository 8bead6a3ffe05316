/* Media of the texts: waveforms of audio to see and to seek in, and players whose keys stay their own. */

const COLUMNS = 300;
const MAX_BYTES = 30_000_000;
const STEP_S = 5;
const SEEK = { ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S, PageDown: -30, PageUp: 30 };

export function wireMedia(room, signal) {
  for (const player of room.querySelectorAll("audio, video")) {
    // a player in focus uses arrows, space, f and so on itself: they are no keys of the room
    player.addEventListener("keydown", (event) => event.stopPropagation(), { signal });
  }
  for (const figure of room.querySelectorAll('[data-media="audio"]')) new Waveform(figure, signal);
}

class Waveform {
  constructor(figure, signal) {
    this.canvas = figure.querySelector("[data-waveform]");
    this.audio = figure.querySelector("audio");
    this.signal = signal;
    this.peaks = [];
    for (const name of ["timeupdate", "seeked", "loadedmetadata", "durationchange"]) {
      this.audio.addEventListener(name, () => this.draw(), { signal });
    }
    this.canvas.addEventListener("keydown", (event) => this.onKey(event), { signal });
    this.canvas.addEventListener("pointerdown", (event) => this.onPointer(event), { signal });
    const seen = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      seen.disconnect();
      this.load();
    });
    seen.observe(this.canvas);
    const sized = new ResizeObserver(() => this.draw());
    sized.observe(this.canvas);
    signal.addEventListener("abort", () => (seen.disconnect(), sized.disconnect()));
  }

  /* The peaks are computed here, from our own origin. A file that is too long or cannot be decoded keeps a plain line. */
  async load() {
    try {
      const response = await fetch(this.audio.currentSrc || this.audio.src, { signal: this.signal });
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
    const { audio } = this;
    const to = { Home: 0, End: audio.duration }[event.key] ?? (event.key in SEEK ? audio.currentTime + SEEK[event.key] : null);
    if (event.key === " " || event.key === "Enter") audio.paused ? audio.play() : audio.pause();
    else if (to !== null) this.seek(to);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  onPointer(event) {
    const { left, width } = this.canvas.getBoundingClientRect();
    this.seek(((event.clientX - left) / width) * this.audio.duration);
  }

  seek(seconds) {
    if (Number.isFinite(this.audio.duration)) this.audio.currentTime = Math.min(Math.max(0, seconds), this.audio.duration);
  }

  draw() {
    const { canvas, audio } = this;
    const duration = Number.isFinite(audio.duration) ? audio.duration : 0;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((size) => Math.round(size * devicePixelRatio));
    if (!width) return;
    Object.assign(canvas, { width, height });
    canvas.setAttribute("aria-valuemax", duration.toFixed(1));
    canvas.setAttribute("aria-valuenow", audio.currentTime.toFixed(1));
    canvas.setAttribute("aria-valuetext", `${clock(audio.currentTime)} / ${clock(duration)}`);
    const style = getComputedStyle(canvas);
    const pen = canvas.getContext("2d");
    const peaks = narrowed(this.peaks, Math.floor(width / (3 * devicePixelRatio)));
    const bar = width / peaks.length;
    const played = duration ? audio.currentTime / duration : 0;
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
