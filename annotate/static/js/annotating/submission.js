/* Sending an assignment off: submit, skip, flag. A submit that got no answer is repeated exactly, so it counts once. */

import { t } from "../i18n.js";
import { same } from "./order.js";
import { announce, notice } from "./notice.js";
import { Away, SignedOut, backoff, send, uuid } from "./transport.js";
import * as undo from "./undo.js";

export class Submission {
  constructor(room) {
    this.room = room;
    this.attempt = 0;
  }

  /** Submit the answers, or show what is missing. */
  async submit() {
    const { room } = this;
    if (this.busy || room.draft.closed || room.draft.inConflict) return;
    const missing = room.firstMissing();
    if (missing) return this.pointAt(missing);
    this.setBusy(true);
    notice("");
    await room.draft.save();
    if (room.draft.inConflict || room.draft.closed) return this.setBusy(false);
    room.draft.hold();
    await this.deliver(this.unanswered() ?? this.compose());
  }

  /* The exact text is kept until it is answered, over a reload too: same id and same body count once. */
  compose() {
    const { room } = this;
    const body = { submission_id: uuid(), answers: room.answers(), active_ms: room.clock.read(), version: room.draft.version, ...room.along() };
    const text = JSON.stringify(body);
    write(this.key(), text);
    return text;
  }

  unanswered() {
    const text = read(this.key());
    const sent = text && JSON.parse(text);
    const unchanged = sent && Object.entries(this.room.along()).every(([name, value]) => sent[name] === value);
    return unchanged && same(sent.answers, this.room.answers()) ? text : null;
  }

  key() {
    return `tiebreak:submit:${this.room.page.assignment}`;
  }

  pointAt({ row, words }) {
    if (row) this.room.setCurrent(row, { focus: true });
    announce(words);
  }

  async deliver(body) {
    try {
      const { status, data } = await send("POST", this.room.page.urls.submit, body);
      this.attempt = 0;
      write(this.key(), null);
      await this.answered(status, data);
    } catch (error) {
      this.failed(error, body);
    }
  }

  async answered(status, data) {
    if (status < 300) return this.accepted(data);
    this.setBusy(false);
    if (status === 422) return this.refuse(data.errors ?? {});
    if (status === 409 && data.code === "draft-conflict") {
      return this.room.draft.catchUp(data) ? this.submit() : this.room.draft.conflict(data);
    }
    if (status === 404 || status === 410) return this.room.draft.lose();
    return notice(data.detail ?? t("The server did not accept this. Your answers are kept; reload the page and try again."), { tone: "danger" });
  }

  async accepted(data) {
    const { room } = this;
    room.leave({ accepted: true });
    undo.offer({ url: room.page.urls.undo, back: location.href, seconds: data.undo_seconds ?? 30 }, room.undo);
    await room.go(data.next ?? room.page.urls.next, { ended: true });
  }

  failed(error, body) {
    if (error instanceof SignedOut) {
      this.setBusy(false);
      return this.room.showState("signed-out");
    }
    if (!(error instanceof Away)) throw error;
    this.attempt += 1;
    this.room.showState("offline");
    notice(t("Offline: kept here. It is sent again by itself as soon as the server answers; leave this page open."));
    return this.again(body);
  }

  again(body) {
    const once = new AbortController();
    const retry = () => {
      once.abort();
      clearTimeout(timer);
      notice("");
      this.deliver(body);
    };
    const timer = setTimeout(retry, backoff(this.attempt));
    window.addEventListener("online", retry, { signal: once.signal });
  }

  /** Show the server's errors beside their rows, and go to the first. */
  refuse(errors) {
    let first = null;
    const rest = { ...errors };
    for (const question of this.room.asked) {
      const own = below(errors, question.name);
      const row = question.showErrors(own);
      first ??= row;
      for (const path of Object.keys(own)) if (row) delete rest[path ? `${question.name}.${path}` : question.name];
    }
    const words = Object.entries(rest).map(([path, text]) => `${path}: ${text}`);
    notice(words.length ? t("Not accepted. {words}", { words: words.join("; ") }) : t("Not accepted yet. See the marked rows."), { tone: "danger" });
    if (first) this.room.setCurrent(first, { focus: true });
  }

  /** Skip or flag with the reason of a dialog's form. */
  async giveUp(form) {
    const kind = form.dataset.reasonForm;
    const fields = new FormData(form);
    const body = { reason: fields.get("reason"), comment: fields.get("comment").trim() };
    const error = form.querySelector("[data-reason-error]");
    try {
      await this.room.draft.save();
      const { status, data } = await send("POST", this.room.page.urls[kind], body);
      if (status >= 400 && status !== 410) {
        error.textContent = data.detail ?? Object.values(data.errors ?? {})[0] ?? t("The server did not accept this.");
        return;
      }
      form.closest("dialog").close();
      this.room.leave({ accepted: true });
      await this.room.go(data.next ?? this.room.page.urls.next, { ended: true });
    } catch (failure) {
      if (!(failure instanceof Away || failure instanceof SignedOut)) throw failure;
      error.textContent = failure instanceof Away ? t("No connection. Try again in a moment.") : t("You are signed out. Reload the page and sign in.");
    }
  }

  setBusy(busy) {
    this.busy = busy;
    if (!busy) this.room.draft.release();
    for (const section of this.room.form.querySelectorAll(".question")) section.inert = busy;
    this.room.form.setAttribute("aria-busy", String(busy));
  }
}

function read(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key, text) {
  try {
    if (text === null) localStorage.removeItem(key);
    else localStorage.setItem(key, text);
  } catch {
    /* storage is blocked: a repeat after a reload is a new submission, which the server refuses */
  }
}

/* The errors of one question, by their path below it. */
function below(errors, name) {
  const own = Object.entries(errors).filter(([path]) => path === name || path.startsWith(`${name}.`));
  return Object.fromEntries(own.map(([path, words]) => [path.slice(name.length + 1), words]));
}
