/* Undo of the last submit, for as long as the server allows; survives a reload of the page. */

import { t } from "../i18n.js";
import { ownKeys } from "./keyboard.js";
import * as toasts from "../toasts.js";

const KEY = "tiebreak:undo";

/** Remember that the annotation just submitted can be taken back, and offer it. */
export function offer({ url, back, seconds }, run) {
  sessionStorage.setItem(KEY, JSON.stringify({ url, back, until: Date.now() + seconds * 1000 }));
  resume(run);
}

let toast = null;

/** Show the offer again while it lasts. `run` is called by the button. */
export function resume(run) {
  toast?.remove();
  const pending = current();
  if (!pending) return;
  toast = toasts.show(t("Submitted"), { ms: pending.until - Date.now(), action: { label: t("Undo"), key: ownKeys().undo, run } });
}

/** The submit that can still be undone: {url, back, until}, or null. */
export function current() {
  const pending = JSON.parse(sessionStorage.getItem(KEY));
  return pending && pending.until > Date.now() ? pending : null;
}

export function withdraw() {
  sessionStorage.removeItem(KEY);
  toast?.remove();
}
