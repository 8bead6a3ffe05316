/* The draft of one assignment: kept in this browser at once, on the server within a second. */

import { same } from "./order.js";
import { Away, SignedOut, backoff, send } from "./transport.js";

const QUIET_MS = 500;
const LONGEST_MS = 1500;

export class Draft {
  /**
   * `read()` answers the current answers, `activeMs()` the active time. `on` holds state(name), conflict(theirs)
   * and lost(). States: saved, saving, offline, signed-out, conflict, lost.
   */
  constructor({ assignment, draft, url, read, activeMs, on }) {
    Object.assign(this, { url, read, activeMs, on });
    this.key = `tiebreak:draft:${assignment}`;
    this.version = draft.version;
    this.server = draft.answers ?? {};
    this.attempt = 0;
    this.firstChange = 0;
    this.closed = false;
    this.held = false;
  }

  /** The answers to show first: those of the server, or newer ones that only this browser has. */
  restore() {
    const local = this.localCopy();
    if (!local || same(local.answers, this.server)) {
      this.forget();
      return { answers: this.server, newer: false };
    }
    if (local.version < this.version) {
      this.conflict({ version: this.version, answers: this.server });
      return { answers: local.answers, newer: false };
    }
    return { answers: local.answers, newer: true };
  }

  changed() {
    if (this.closed) return;
    this.keep();
    if (this.inConflict) return;
    this.on.state("saving");
    this.firstChange ||= Date.now();
    const wait = Math.max(0, Math.min(QUIET_MS, this.firstChange + LONGEST_MS - Date.now()));
    this.schedule(wait);
  }

  schedule(wait) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), wait);
  }

  /** Save now. One request at a time: a change during a save is saved after it. */
  save() {
    clearTimeout(this.timer);
    if (this.closed || this.held || this.inConflict) return Promise.resolve();
    this.inFlight = (this.inFlight ?? Promise.resolve()).then(() => this.put());
    return this.inFlight;
  }

  async put() {
    if (this.closed || this.held || this.inConflict) return;
    const answers = this.read();
    this.firstChange = 0;
    try {
      const { status, data } = await send("PUT", this.url, this.body(answers));
      this.attempt = 0;
      if (!this.closed) this.answered(status, data, answers);
    } catch (error) {
      this.failed(error);
    }
  }

  body(answers) {
    return { version: this.version, answers, active_ms: this.activeMs() };
  }

  answered(status, data, answers) {
    if (status === 409 && data.code === "draft-conflict") return this.adopt(data) ? undefined : this.conflict(data);
    if ([404, 409, 410].includes(status)) return this.lose();
    if (status >= 400) return this.on.state("offline");
    this.version = data.version;
    this.server = answers;
    if (!same(answers, this.read())) return this.changed();
    this.forget();
    return this.on.state("saved");
  }

  failed(error) {
    if (this.closed) return;
    if (error instanceof SignedOut) {
      this.on.state("signed-out");
    } else if (error instanceof Away) {
      this.attempt += 1;
      this.on.state("offline");
      this.schedule(backoff(this.attempt));
    } else {
      throw error;
    }
  }

  /** Take over a newer version that says the same as this tab; answers false when it says something else. */
  adopt({ version, answers }) {
    if (!same(answers, this.read())) return false;
    this.version = version;
    this.server = answers;
    this.forget();
    this.on.state("saved");
    return true;
  }

  conflict({ version, answers }) {
    this.inConflict = { version, answers };
    this.on.state("conflict");
    this.on.conflict(answers);
  }

  /** Settle a conflict: with "mine" this tab's answers become the next version, with "theirs" they are replaced. */
  settle(side) {
    const { version, answers } = this.inConflict;
    this.inConflict = null;
    this.version = version;
    if (side === "mine") {
      this.keep();
      return this.save();
    }
    this.server = answers;
    this.forget();
    this.on.state("saved");
    return Promise.resolve();
  }

  /** Whether the last save got no answer, so that only this browser has what is on the screen. */
  get isAway() {
    return this.attempt > 0;
  }

  /** Save nothing while a submit is under way: it carries the answers, and ends the assignment they are saved to. */
  hold() {
    clearTimeout(this.timer);
    this.held = true;
  }

  /** The submit came back without being accepted: go on saving. */
  release() {
    this.held = false;
    if (!this.closed && this.localCopy()) this.schedule(0);
  }

  lose() {
    this.closed = true;
    this.on.state("lost");
    this.on.lost();
  }

  /** Stop saving. The copy in this browser goes only when the server has the answers. */
  close({ accepted }) {
    clearTimeout(this.timer);
    this.closed = true;
    if (accepted) this.forget();
  }

  /** The page is going away: send what is unsaved without waiting for an answer. */
  flush() {
    if (this.closed || this.inConflict || !this.localCopy()) return;
    send("PUT", this.url, this.body(this.read()), { keepalive: true }).catch(() => undefined);
  }

  localCopy() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null;
    }
  }

  keep() {
    try {
      localStorage.setItem(this.key, JSON.stringify({ version: this.version, answers: this.read(), at: Date.now() }));
    } catch {
      /* storage is full or blocked: the server copy is the only one */
    }
  }

  forget() {
    try {
      localStorage.removeItem(this.key);
    } catch {
      /* storage is blocked: nothing was kept */
    }
  }
}
