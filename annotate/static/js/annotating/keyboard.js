/* Keys of the reading room: off while typing, off by choice, never in the way of the browser's own. */

const OFF = "tiebreak:keys-off";
const TEXT_FIELDS = 'textarea, select, [contenteditable="true"], input:not([type="radio"], [type="checkbox"], [type="range"])';

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
  const run = Object.hasOwn(actions.keys, event.key) ? actions.keys[event.key] : null;
  if (run) run();
  if (run || actions.other(event.key)) event.preventDefault();
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
