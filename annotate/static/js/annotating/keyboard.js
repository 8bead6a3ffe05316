/* Keys of the reading room: off while typing, off by choice, never in the way of the browser's own. */

const OFF = "tiebreak:keys-off";
const TEXT_FIELDS = 'textarea, select, [contenteditable="true"], input:not([type="radio"], [type="checkbox"], [type="range"])';

const SIGNS = { ArrowLeft: "←", ArrowRight: "→" };
const WITH_ARROWS = 'input[type="radio"], input[type="range"], [role="slider"], [role="listbox"], [data-own-arrows]';

/** A key as it is printed and chosen. */
export function nameOf(key) {
  return SIGNS[key] ?? key;
}

/** The keys of the page's person, by action: {skip: "s", …}. */
export function ownKeys() {
  return JSON.parse(document.getElementById("room-keys")?.textContent ?? "{}");
}

export function keysAreOn() {
  return localStorage.getItem(OFF) === null;
}

export function switchKeys(on) {
  if (on) localStorage.removeItem(OFF);
  else localStorage.setItem(OFF, "1");
}

/**
 * Call `actions[key]()` for single keys, `actions.submit()` for Enter, `actions.other(key)` for the rest, which answers
 * whether the key meant something.
 */
export function listen(actions, signal) {
  document.addEventListener("keydown", (event) => onKey(event, actions), { signal });
}

function onKey(event, actions) {
  if (event.isComposing || event.defaultPrevented || event.altKey) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog) return void pickInDialog(event, dialog);
  if (event.key === "Enter") return void onEnter(event, actions);
  if (event.key === "Escape") return void onEscape(event, actions);
  if (event.ctrlKey || event.metaKey || isTyping(event.target) || !keysAreOn()) return;
  if (meanings(event).some((key) => act(actions, key))) event.preventDefault();
}

/* What a press may stand for: its character, and on keyboards of other scripts the Latin one of the same place. */
function meanings({ key, code, target }) {
  if (key in SIGNS) return target.closest(WITH_ARROWS) ? [] : [SIGNS[key]];
  const latin = key.length === 1 && key > "\u007f" ? code.match(/^(?:Key|Digit)(.)$/)?.[1].toLowerCase() : undefined;
  return latin ? [key, latin] : [key];
}

function act(actions, key) {
  if (!Object.hasOwn(actions.keys, key)) return actions.other(key);
  actions.keys[key]();
  return true;
}

function onEnter(event, actions) {
  const withModifier = event.ctrlKey || event.metaKey;
  const ownMeaning = isTyping(event.target) || event.target.closest("button, a, summary, [popover]");
  if (event.repeat || (!withModifier && (ownMeaning || !keysAreOn()))) return;
  event.preventDefault();
  actions.submit();
}

function onEscape(event, actions) {
  if (isTyping(event.target)) event.target.blur();
  else actions.escape();
}

function pickInDialog(event, dialog) {
  if (isTyping(event.target) || !/^[1-9]$/.test(event.key)) return;
  const radio = dialog.querySelectorAll('input[type="radio"]')[Number(event.key) - 1];
  if (!radio) return;
  radio.checked = true;
  radio.focus();
  event.preventDefault();
}

function isTyping(target) {
  return target.matches?.(TEXT_FIELDS) ?? false;
}
