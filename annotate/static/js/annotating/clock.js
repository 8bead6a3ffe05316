/* Active time: the page is visible and somebody moved within the last minute. */

const IDLE_MS = 60_000;
const TICK_MS = 1000;
const SIGNS = ["keydown", "pointerdown", "pointermove", "scroll", "wheel", "touchmove"];

export class ActiveClock {
  constructor(startMs, signal) {
    this.ms = startMs;
    this.lastSign = performance.now();
    this.lastTick = performance.now();
    for (const sign of SIGNS) {
      document.addEventListener(sign, () => this.sign(), { passive: true, capture: true, signal });
    }
    const timer = setInterval(() => this.tick(), TICK_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  sign() {
    this.lastSign = performance.now();
  }

  tick() {
    const now = performance.now();
    const active = !document.hidden && now - this.lastSign < IDLE_MS;
    // a laptop that slept wakes with one huge tick, which nobody worked through
    if (active) this.ms += Math.min(Math.max(0, now - this.lastTick), 2 * TICK_MS);
    this.lastTick = now;
  }

  read() {
    this.tick();
    return Math.round(this.ms);
  }
}
