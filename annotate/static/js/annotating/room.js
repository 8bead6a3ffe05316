/* One assignment on the screen: questions, draft, keys, submit. A new Room is made for each instance.

   A kind of question is a class in KINDS, a template `templates/annotate/questions/_<kind>.html`, the words of its keys
   `templates/annotate/questions/keys/_<kind>.html` and a style sheet `css/questions/<kind>.css`, linked by work.html.
   The template draws one `.question[data-question=<name>]` (see `_head.html`) with a `[data-body]` of rows, each a
   `.row[data-row=<what>][data-path=<path of its errors>]` with a `[data-error]`. What the class answers and does
   (Control has a sensible default for those in brackets):

     new Kind(section, question, context)   context: order (order[position] = stored index), element (#room, for what is
                          drawn on the texts), signal (aborted when the room is left: pass it to every listener)
     rows                 the rows that j and k walk, top to bottom; an element with [data-focus] gets the focus
     read()               the answer in *stored* order as feedback/answers.py takes it, or null when nothing was said
     write(stored|null)   shows an answer; null clears
     missing()            what is still needed, in words; "" when the answer may be submitted
     summary()            the answer in one short line, for the folded question
     [gap()]              the row that misses something, where missing() is not ""
     [present(asked)]     shows the question, or hides it and what it draws elsewhere; called after every change
     [describe()]         redraws what depends on the answer; called after every change
     [press(row, key)]    a single key on the current row; answers whether it meant something
     [showErrors(errors)] the server's errors by path below the question; answers the first row that has one
     [marks()]            {position: {words, chosen}} beside the completions; the first asked question with marks wins
     [changed(row)]       to be called after a change that no input element announced

   Rows and inputs fire `input` and `change`, which bubble to the form: the Room then redraws and saves the draft. A
   question whose condition (`when`) is not met is hidden, keeps what was typed, and is not part of the answers. */

import { t } from "../i18n.js";
import { Choice } from "./choice.js";
import { ActiveClock } from "./clock.js";
import { Critique } from "./critique.js";
import { Draft } from "./draft.js";
import { keysAreOn, listen, ownKeys, switchKeys } from "./keyboard.js";
import { announce, notice } from "./notice.js";
import { Preference } from "./preference.js";
import { Ranking } from "./ranking.js";
import { Rating } from "./rating.js";
import { Span } from "./span.js";
import { Submission } from "./submission.js";
import { markChosen, wireTexts } from "./texts.js";
import * as toasts from "../toasts.js";

const KINDS = { preference: Preference, ranking: Ranking, rating: Rating, span: Span, critique: Critique, choice: Choice };
const STATE_WORDS = {
  saved: t("Saved"),
  saving: t("Saving…"),
  offline: t("Offline: kept here"),
  unkept: t("Offline, and not kept here"),
  refused: t("Not saved on the server"),
  "signed-out": t("Signed out: kept here"),
  conflict: t("Changed in another tab"),
  lost: t("Back in the queue"),
};

export class Room {
  /** `element` is #room, `page` its data block, `go(url)` shows another page, `prepare()` has the next one ready, `undo()` takes the last submit back. */
  constructor(element, page, { go, prepare, undo }) {
    Object.assign(this, { element, page, go, prepare, undo });
    this.form = element.querySelector("#answers");
    this.leaving = new AbortController();
    this.questions = this.mountQuestions();
    this.clock = new ActiveClock(page.draft.active_ms ?? 0, this.leaving.signal);
    this.draft = new Draft({
      assignment: page.assignment,
      draft: page.draft,
      url: page.urls.draft,
      read: () => this.answers(),
      activeMs: () => this.clock.read(),
      on: {
        state: (name) => this.showState(name),
        conflict: (theirs) => this.askWhichDraft(theirs),
        renewed: (theirs) => this.renew(theirs),
        refused: (words) => this.sayRefused(words),
        lost: () => this.sayLost(),
      },
    });
    this.submission = new Submission(this);
  }

  mountQuestions() {
    return this.page.questions.flatMap((question) => {
      const Kind = KINDS[question.kind];
      const section = this.element.querySelector(`[data-question="${CSS.escape(question.name)}"]`);
      const context = { order: this.page.order, element: this.element, signal: this.leaving.signal };
      return Kind && section ? [new Kind(section, question, context)] : [];
    });
  }

  /** The questions whose conditions are met, top to bottom. */
  get asked() {
    return this.questions.filter((one) => this.isAsked(one));
  }

  isAsked({ question: { when } }) {
    if (!when) return true;
    const other = this.questions.find((one) => one.name === when.question);
    if (!other || !this.isAsked(other)) return false;
    const { values, value } = other.read() ?? {};
    return (values ?? [value]).some((one) => when.values.includes(one));
  }

  /** What goes along with the answers: the fields of the form with [data-along], by name. */
  along() {
    return Object.fromEntries([...this.form.querySelectorAll("[data-along]")].map((field) => [field.name, field.value]));
  }

  get rows() {
    return this.asked.flatMap((question) => question.rows);
  }

  start() {
    this.draft.recall((found) => this.begin(found));
    this.begin(this.draft.restore());
    const { signal } = this.leaving;
    this.form.addEventListener("input", (event) => this.onChange(event), { signal });
    this.form.addEventListener("change", (event) => this.onChange(event), { signal });
    this.form.addEventListener("submit", (event) => this.onSubmit(event), { signal });
    this.form.addEventListener("focusin", (event) => this.follow(event.target), { signal });
    this.element.addEventListener("click", (event) => this.onClick(event), { signal });
    window.addEventListener("online", () => this.draft.save(), { signal });
    window.addEventListener("pagehide", () => this.draft.flush(), { signal });
    document.addEventListener("visibilitychange", () => this.draft.saveIfUnsaved(), { signal });
    wireTexts(this.element, signal);
    this.wirePresses();
    this.wireKeys();
    this.wireReasonForms();
    this.keepLease();
    if (this.page.renew) this.draft.save(); // it was lent for a short while only
    if (this.rows.length) this.setCurrent(this.rows[0]);
  }

  begin({ answers, newer }) {
    this.write(answers);
    if (!this.draft.inConflict) this.showState("saved");
    if (newer) this.restored();
  }

  leave({ accepted }) {
    this.draft.close({ accepted });
    this.leaving.abort();
  }

  /** {question name: answer} in stored order; questions without an answer and those not asked are left out. */
  answers() {
    const pairs = this.asked.map((question) => [question.name, question.read()]);
    return Object.fromEntries(pairs.filter(([, answer]) => answer !== null));
  }

  write(answers) {
    for (const question of this.questions) question.write(answers[question.name] ?? null);
    this.refresh();
  }

  restored() {
    toasts.show(t("Your unsaved answers were restored from this browser"));
    this.draft.changed();
  }

  onChange(event) {
    const row = event.target.closest("[data-row].has-error");
    if (row) {
      row.classList.remove("has-error");
      row.querySelector("[data-error]").textContent = "";
    }
    this.refresh();
    this.draft.changed();
    this.prepare();
  }

  /** Bring everything that depends on the answers up to date. */
  refresh() {
    const { asked } = this;
    for (const question of this.questions) question.present(asked.includes(question));
    for (const question of asked) question.describe();
    this.collapseAnswered();
    markChosen(this.element, asked.find((question) => question.marks)?.marks() ?? {});
    const missing = this.firstMissing();
    this.form.querySelector("#missing").textContent = missing?.words ?? "";
    this.form.querySelector('[type="submit"]').setAttribute("aria-disabled", String(missing !== null));
  }

  firstMissing() {
    if (!this.questions.length) return { row: null, words: t("Skip or flag this instance") };
    const shown = [...this.form.querySelectorAll(".question:not([hidden])")];
    for (const question of this.asked) {
      const words = question.missing();
      if (words) return { row: question.gap(), words: shown.length > 1 ? t("Answer question {n}", { n: shown.indexOf(question.section) + 1 }) : words };
    }
    const empty = this.form.querySelector("[data-along]:invalid");
    if (empty) return { row: null, words: empty.labels[0].textContent };
    return null;
  }

  /* Nothing moves between a press and its release: the click would miss what was pressed. */
  wirePresses() {
    const { signal } = this.leaving;
    const release = () => setTimeout(() => {
      this.pressed = false;
      this.collapseAnswered();
    });
    this.form.addEventListener("pointerdown", () => (this.pressed = true), { signal, capture: true });
    for (const end of ["pointerup", "pointercancel"]) window.addEventListener(end, release, { signal });
  }

  /* Answered questions fold to one line once another one is current, so that the form stays on one screen. */
  collapseAnswered() {
    if (this.pressed) return;
    for (const question of this.questions) {
      const current = question.rows.includes(this.current);
      const folded = this.questions.length > 1 && !current && question.read() !== null && !question.missing();
      question.section.querySelector("[data-body]").hidden = folded;
      question.section.querySelector("[data-question-open]").setAttribute("aria-expanded", String(!folded));
      question.section.querySelector("[data-summary]").textContent = folded ? question.summary() : "";
    }
  }

  setCurrent(row, { focus = false } = {}) {
    this.current?.classList.remove("is-current");
    this.current = row;
    row.classList.add("is-current");
    this.collapseAnswered();
    if (!focus) return;
    const target = row.querySelector("[data-focus], input:checked") ?? row.querySelector("input, textarea, button");
    target?.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }

  follow(target) {
    const row = target.closest("[data-row]");
    if (row && row !== this.current) this.setCurrent(row);
  }

  move(step) {
    const next = this.rows[this.rows.indexOf(this.current) + step];
    if (next) this.setCurrent(next, { focus: true });
  }

  onClick(event) {
    const act = event.target.closest("[data-act]")?.dataset.act;
    if (act) this.act(act);
    const opener = event.target.closest("[data-question-open]");
    const question = opener && this.questions.find((one) => one.section.contains(opener));
    if (question) this.setCurrent(question.rows[0], { focus: true });
    if (event.target.closest("[data-dialog-close]")) event.target.closest("dialog").close();
    if (event.target.matches("[data-keys-on]")) switchKeys(event.target.checked);
  }

  act(name) {
    if (name === "guideline") this.toggleGuideline();
    else if (name === "keys") this.showKeys();
    else if (name === "back" || name === "forward") this.walk(this.page.urls[name]);
    else this.element.querySelector(`#${name}-dialog`)?.showModal(); // an answer that is edited has no skip and flag
  }

  /** Show another of the person's own answers; what is unsaved here is saved first. */
  async walk(url) {
    if (!url || this.submission.busy) return;
    const here = location.href;
    await this.draft.save();
    if (this.draft.isAway) return void toasts.show(t("No connection. Try again in a moment."));
    await this.go(url);
    if (location.href === here) toasts.show(t("There is no earlier answer that you can still change"));
  }

  showKeys() {
    const dialog = this.element.querySelector("#keys-dialog");
    dialog.querySelector("[data-keys-on]").checked = keysAreOn();
    dialog.showModal();
  }

  toggleGuideline(show = this.element.querySelector("#guideline").hidden) {
    const pane = this.element.querySelector("#guideline");
    pane.hidden = !show;
    const button = this.element.querySelector('.room-tools [data-act="guideline"]');
    button.setAttribute("aria-expanded", String(show));
    if (show) pane.focus();
    else if (pane.contains(document.activeElement) || document.activeElement === document.body) button.focus();
  }

  wireKeys() {
    const does = {
      next_row: () => this.move(1),
      previous_row: () => this.move(-1),
      skip: () => this.act("skip"),
      flag: () => this.act("flag"),
      back: () => this.act("back"),
      forward: () => this.act("forward"),
      guideline: () => this.toggleGuideline(),
      undo: () => this.undo(),
      keys: () => this.act("keys"),
    };
    const own = ownKeys();
    const keys = Object.fromEntries(Object.entries(does).map(([action, run]) => [own[action], run]));
    const other = (key) => this.asked.some((one) => one.rows.includes(this.current) && one.press(this.current, key));
    const escape = () => this.toggleGuideline(false);
    listen({ keys, other, escape, submit: () => this.submission.submit() }, this.leaving.signal);
  }

  wireReasonForms() {
    for (const form of this.element.querySelectorAll("[data-reason-form]")) {
      form.addEventListener("submit", (event) => {
        event.preventDefault();
        this.submission.giveUp(form);
      }, { signal: this.leaving.signal });
    }
  }

  onSubmit(event) {
    event.preventDefault();
    this.submission.submit();
  }

  /* Reading for long without a change must not lose the lease: a save renews it while somebody is here. */
  keepLease() {
    let renewedAt = this.clock.read();
    const renew = () => {
      if (this.clock.read() === renewedAt) return;
      renewedAt = this.clock.read();
      this.draft.save();
    };
    const timer = setInterval(renew, Math.max(10, this.page.lease_seconds / 3) * 1000);
    this.leaving.signal.addEventListener("abort", () => clearInterval(timer));
  }

  showState(name) {
    const state = this.element.querySelector("#save-state");
    state.textContent = STATE_WORDS[name];
    state.dataset.state = ["signed-out", "offline", "unkept", "refused"].includes(name) ? "offline" : name;
    if (name === "saved" && this.warned) notice("");
    if (name !== "saving") this.warned = ["signed-out", "unkept", "refused"].includes(name);
    if (name === "signed-out") this.saySignedOut();
    if (name === "unkept") notice(t("No connection, and this browser keeps nothing. Leave this page open until it says Saved."));
  }

  /* The other tab went on while nothing was changed in this one. */
  renew(theirs) {
    this.write(theirs);
    announce(t("Brought up to date with your other tab"));
  }

  sayRefused(words) {
    notice(t("The server did not take this draft. It is kept in this browser. {words}", { words }), { tone: "danger" });
  }

  saySignedOut() {
    notice(t("You are signed out. Your answers are kept in this browser and come back after you sign in."), {
      actions: [{ label: t("Sign in"), primary: true, run: () => this.signIn() }],
    });
  }

  /* Who signed in elsewhere goes on here; everybody else is led to the sign-in by the reload. */
  async signIn() {
    await this.draft.save();
    if (this.draft.signedOut) location.reload();
  }

  sayLost() {
    notice(t("This instance went back to the queue because its time ran out or it was finished elsewhere. Your answers are kept in this browser."), {
      actions: [{ label: t("Show the next instance"), primary: true, run: () => this.go(this.page.urls.next) }],
    });
  }

  askWhichDraft(theirs) {
    const settle = async (side) => {
      notice("");
      if (side === "theirs") this.write(theirs);
      await this.draft.settle(side);
    };
    notice(t("This instance was changed in another tab. Nothing was overwritten. Which answers do you want to keep?"), {
      actions: [
        { label: t("Keep these"), primary: true, run: () => settle("mine") },
        { label: t("Use the other tab’s"), run: () => settle("theirs") },
      ],
    });
  }
}
