/* The reading room: shows the instance of this page, and after each submit the next one in its place. */

import { keysAreOn, ownKeys } from "./annotating/keyboard.js";
import { announce, notice } from "./annotating/notice.js";
import { Prepared } from "./annotating/prepared.js";
import { Room } from "./annotating/room.js";
import { Away, SignedOut, send } from "./annotating/transport.js";
import * as undo from "./annotating/undo.js";
import { t } from "./i18n.js";
import * as themeToggle from "./theme-toggle.js";
import * as toasts from "./toasts.js";

let room = null;
const prepared = new Prepared(load);

function open() {
  const data = document.getElementById("work-data");
  room = data ? new Room(document.getElementById("room"), JSON.parse(data.textContent), { go, prepare, undo: takeBack }) : null;
  room?.start();
  themeToggle.describe();
}

function prepare() {
  prepared.begin(room.page);
}

/**
 * Show another page of the room without a flash; any other page, and any doubt, by ordinary navigation. `ended`: the
 * instance on the screen is done with, and the one that was prepared comes after it.
 */
async function go(url, { ended = false } = {}) {
  const next = (ended && (await prepared.take(room.page))) || (await load(url));
  if (!next) return location.assign(url);
  room?.leave({ accepted: false }); // unless it was left already, with an answer
  document.getElementById("room").replaceWith(document.adoptNode(next.room));
  document.title = next.title;
  history.replaceState(null, "", next.page?.renew ? url : next.url);
  window.scrollTo(0, 0);
  open();
  document.getElementById("main").focus({ preventScroll: true });
  announce(document.title);
  return undefined;
}

async function load(url) {
  try {
    const response = await fetch(url, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const found = page.getElementById("room");
    const data = found?.querySelector("#work-data");
    return found && { room: found, title: page.title, url: response.url, page: data && JSON.parse(data.textContent) };
  } catch {
    return null;
  }
}

/** Take the last submit back and show that instance again. */
async function takeBack() {
  const pending = undo.current();
  if (!pending) return;
  try {
    await room?.draft.save();
    const { status, data } = await send("POST", pending.url, {});
    undo.withdraw();
    if (status >= 400) return void toasts.show(data.detail ?? t("Too late to undo. You can still edit it from your tasks."), { danger: true });
    room?.leave({ accepted: false });
    await go(data.next ?? pending.back);
  } catch (error) {
    if (error instanceof SignedOut) return void toasts.show(t("You are signed out. Reload the page and sign in."), { danger: true });
    if (!(error instanceof Away)) throw error;
    toasts.show(t("No connection. Try again in a moment."));
  }
}

document.addEventListener("keydown", (event) => {
  // the finished page has no room of its own, but the last submit can still be taken back there
  if (event.key === ownKeys().undo && keysAreOn() && !room && !event.ctrlKey && !event.metaKey) takeBack();
});

toasts.wire();
themeToggle.wire();
open();
undo.resume(takeBack);
notice("");
