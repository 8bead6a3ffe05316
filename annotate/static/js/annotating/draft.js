/* The draft of one assignment: kept in this browser at once, on its disk a moment later (durable.js), and on the server
   within two seconds.

   Nothing is overwritten that this tab has not seen. What it has seen are the answers it was given (`server`) and those
   that it sent and got no reply to (`sent`, as fingerprints): the server may have taken them all the same. */

import * as durable from "./durable.js";
import { fingerprint, same } from "./order.js";
import { Away, SignedOut, backoff, send, uuid } from "./transport.js";

const QUIET_MS = 500;
const LONGEST_MS = 1500;

export class Draft {
  /**
   * Without a `url` the draft is kept in this browser only. `read()` answers the current answers, `activeMs()` the
   * active time. `on` holds state(name), conflict(theirs), renewed(theirs), refused(words) and lost(). States: saved,
   * saving, offline, unkept, signed-out, conflict, refused, lost.
   */
  constructor({ assignment, draft, url, read, activeMs, on }) {
    Object.assign(this, { url, read, activeMs, on });
    this.key = `tiebreak:draft:${assignment}`;
    this.version = draft.version;
    this.server = draft.answers ?? {};
    this.sent = [];
    this.tab = uuid();
    this.attempt = 0;
    this.signedOut = false;
    this.firstChange = 0;
    this.closed = false;
    this.held = false;
    this.kept = true;
  }

  /** The answers to show first: those of the server, or newer ones that only this browser has. */
  restore() {
    const local = this.localCopy();
    if (local?.saved && local.version > this.version) {
      // the page was made before the last save reached the server
      Object.assign(this, { version: local.version, server: local.answers });
      return { answers: local.answers, newer: false };
    }
    if (!local || local.saved || same(local.answers, this.server)) {
      this.forget();
      return { answers: this.server, newer: false };
    }
    if (local.version < this.version && !local.sent?.includes(fingerprint(this.server))) {
      this.conflict({ version: this.version, answers: this.server });
      return { answers: local.answers, newer: false };
    }
    return { answers: local.answers, newer: true };
  }

  /** What only the disk has, because the browser was killed: `found({answers, newer})` is called with it, if anything. */
  async recall(found) {
    const [local, begun] = [this.localCopy(), Date.now()];
    const copy = await durable.read(this.key);
    if (this.closed || this.inConflict || !copy || copy.saved) return;
    if (local?.at >= copy.at || copy.at >= begun) return; // the same, or of a tab that is open beside this one
    if (this.unsaved) return void this.conflict({ version: this.version, answers: copy.answers });
    this.set(copy);
    found(this.restore());
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
    if (!this.url) return void this.on.state("saved");
    this.note(answers);
    try {
      const { status, data } = await send("PUT", this.url, this.body(answers));
      this.attempt = 0;
      this.signedOut = false;
      if (!this.closed) this.answered(status, data, answers);
    } catch (error) {
      this.failed(error);
    }
  }

  body(answers) {
    return { version: this.version, answers, active_ms: this.activeMs() };
  }

  answered(status, data, answers) {
    if (status === 409 && data.code === "draft-conflict") return this.passedBy(data);
    if ([404, 409, 410].includes(status)) return this.lose();
    if (status >= 400) return this.refused(data);
    this.sent = [];
    this.version = data.version;
    this.server = answers;
    if (!same(answers, this.read())) return this.changed();
    this.confirm();
    return this.on.state("saved");
  }

  /* Remember what is about to be sent, over a crash too if it is unsaved. */
  note(answers) {
    const mark = fingerprint(answers);
    if (!this.sent.includes(mark)) this.sent.push(mark);
    if (this.unsaved) this.keep();
  }

  /* Somebody saved meanwhile: this tab, whose reply was lost; one that says the same; one that this tab must not undo. */
  passedBy(theirs) {
    if (this.catchUp(theirs)) return same(this.read(), theirs.answers) ? undefined : this.changed();
    return same(this.read(), this.server) ? this.renew(theirs) : this.conflict(theirs);
  }

  /** Go on from a newer version that says the same as this tab, or that this tab wrote; false if it is another's. */
  catchUp({ version, answers }) {
    const agreed = same(answers, this.read());
    if (!agreed && !this.sent.includes(fingerprint(answers))) return false;
    Object.assign(this, { version, server: answers, sent: [] });
    if (agreed) {
      this.confirm();
      this.on.state("saved");
    }
    return true;
  }

  /* Nothing was changed here since the last save, so the other tab's answers are simply the newer ones. */
  renew({ version, answers }) {
    Object.assign(this, { version, server: answers, sent: [] });
    this.confirm();
    this.on.renewed(answers);
    this.on.state("saved");
  }

  refused(data) {
    this.on.state("refused");
    this.on.refused(data.detail ?? "");
  }

  failed(error) {
    if (this.closed) return;
    if (error instanceof SignedOut) {
      this.signedOut = true;
      this.on.state("signed-out");
    } else if (error instanceof Away) {
      this.attempt += 1;
      this.on.state(this.kept ? "offline" : "unkept");
      this.schedule(backoff(this.attempt));
    } else {
      throw error;
    }
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

  /** Whether something was changed here that the server has not confirmed. */
  get unsaved() {
    const local = this.localCopy();
    return local?.tab === this.tab && !local.saved;
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
    if (!this.closed && this.unsaved) this.schedule(0);
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

  /** Whoever leaves the tab for another, or comes back to it, leaves nothing for later. */
  saveIfUnsaved() {
    if (this.unsaved) this.save();
  }

  /** The page is going away: send what is unsaved without waiting for an answer. */
  flush() {
    if (!this.url || this.closed || this.inConflict || !this.unsaved) return;
    const answers = this.read();
    this.note(answers);
    send("PUT", this.url, this.body(answers), { keepalive: true }).catch(() => undefined);
  }

  localCopy() {
    try {
      return JSON.parse(localStorage.getItem(this.key));
    } catch {
      return null;
    }
  }

  keep() {
    const { version, sent, tab } = this;
    const copy = { version, sent: [...sent], tab, answers: this.read(), at: Date.now() };
    this.kept = this.set(copy);
    durable.write(this.key, copy);
  }

  /* False: storage is full or blocked, and the server's copy is the only one. */
  set(copy) {
    try {
      localStorage.setItem(this.key, JSON.stringify(copy));
      return true;
    } catch {
      return false;
    }
  }

  /* The server has what is here: the copy only says so, in case a page made before that is shown after it. */
  confirm() {
    const { version, server, tab } = this;
    const local = this.localCopy();
    if (local && local.tab !== tab && !local.saved) return; // what another tab has not saved yet
    const copy = { version, tab, answers: server, saved: true, at: Date.now() };
    this.set(copy);
    durable.write(this.key, copy);
  }

  /** Nothing of any tab is worth keeping any more. */
  forget() {
    durable.write(this.key, null);
    try {
      localStorage.removeItem(this.key);
    } catch {
      /* storage is blocked: nothing was kept */
    }
  }
}
