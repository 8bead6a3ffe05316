/* The builder: keeps the open question as it is typed, shows what is not right, lets questions be dragged. */

import { wireDragging } from "./builder-drag.js";

const QUIET_MS = 700;

class Builder {
  constructor(form) {
    this.form = form;
    this.state = document.getElementById("builder-state");
    this.room = document.getElementById("builder-room");
    this.dirty = false;
  }

  start() {
    this.form.addEventListener("input", (event) => this.changed(event));
    this.form.addEventListener("submit", (event) => this.onSubmit(event));
    window.addEventListener("pagehide", () => this.flush());
    wireDragging(this.form.querySelector("#builder-list"), (place, to) => this.move(place, to));
    this.focus(this.form.querySelector("#builder-list").dataset.focus);
  }

  changed(event) {
    if (event.target.name === "_preset") return; // chosen for its button, no part of the question
    this.dirty = true;
    if (event.target.name === "title") this.open.querySelector("[data-title]").textContent = event.target.value || "Untitled";
    if (this.stale) return;
    this.say("Saving…");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.keep(), QUIET_MS);
  }

  get open() {
    return this.form.querySelector(".builder-question.is-open");
  }

  /** Keep the open question. One request at a time: each names the version that the last one answered. */
  keep() {
    clearTimeout(this.timer);
    this.inFlight = (this.inFlight ?? Promise.resolve()).then(() => this.put());
    return this.inFlight;
  }

  async put() {
    if (!this.dirty || this.stale) return;
    this.dirty = false;
    try {
      const response = await fetch(this.form.dataset.keep, { method: "POST", body: new FormData(this.form), headers: { Accept: "application/json" }, redirect: "manual" });
      if (response.type === "opaqueredirect" || response.status === 401 || response.status === 403) return this.unsaved("Signed out: not saved. Sign in in another tab, then change something.");
      const data = await response.json();
      if (response.status === 409) return this.conflict(data.detail);
      if (!response.ok) return this.unsaved(`Not saved: ${data.detail}`);
      this.kept(data);
    } catch {
      this.unsaved("Not saved: the server did not answer.");
      this.timer = setTimeout(() => this.keep(), 3000);
    }
  }

  kept({ version, errors, counts }) {
    this.form.elements._version.value = version;
    this.say(this.dirty ? "Saving…" : "Draft saved");
    for (const place of this.form.querySelectorAll("[data-error-of]")) place.textContent = errors[place.dataset.errorOf] ?? "";
    for (const [place, question] of [...this.form.querySelectorAll(".builder-question")].entries()) {
      const badge = question.querySelector("[data-errors]");
      badge.hidden = !counts[place];
      badge.textContent = `${counts[place]} to mend`;
    }
    this.room?.contentWindow?.location.reload();
  }

  unsaved(words) {
    this.dirty = true;
    this.say(words);
  }

  /* What was typed stays on the page; the next button sends it, and the server shows it beside what is stored now. */
  conflict(words) {
    this.stale = true;
    this.unsaved(words);
  }

  say(words) {
    this.state.textContent = words;
  }

  /** A button sends the open question itself, but not while an older request may still raise the version. */
  onSubmit(event) {
    clearTimeout(this.timer);
    if (!this.inFlight) return void (this.dirty = false);
    event.preventDefault();
    const { submitter } = event;
    this.inFlight.then(() => {
      this.inFlight = null;
      setTimeout(() => this.form.requestSubmit(submitter)); // a form submits nothing while this event is under way
    });
  }

  flush() {
    if (!this.dirty || this.stale) return;
    fetch(this.form.dataset.keep, { method: "POST", body: new FormData(this.form), keepalive: true }).catch(() => undefined);
  }

  move(place, to) {
    const button = this.form.querySelector(to < place ? `#up-${place}` : `#down-${place}`);
    button.value = String(to);
    this.form.requestSubmit(button);
  }

  /* After a button the page is a new one; go on where the hand was: a moved question's button, a table's empty row. */
  focus(name) {
    if (!name) return;
    const rows = this.form.querySelectorAll(`[name^="${CSS.escape(`${name}.`)}"]`);
    const last = rows.length ? rows[rows.length - 1].closest("tr").querySelector("input, textarea") : null;
    const target = last ?? document.getElementById(name);
    const usable = target?.disabled ? target.parentElement.querySelector("button:not(:disabled)") : target;
    usable?.focus();
  }
}

const form = document.getElementById("builder");
if (form) new Builder(form).start();
