/* A word diff on the page: what is gone struck through, what is new underlined, both said in words to screen readers.

   It is drawn line by line, so that the browser lays out only what is in sight, and only lines that changed are redrawn. */

import { t } from "../i18n.js";
import { compareWords } from "./comparing.js";

const FOLD_ABOVE = 3000;
const CONTEXT = 500;
const drawn = new WeakMap();
const asked = new WeakMap();

/**
 * Draw the way from `before` to `after` into `element`. Answers {gone, added, cut}, the first two in words, or {failed},
 * a sentence, or null when another one was asked for meanwhile.
 */
export async function drawDiff(element, before, after) {
  const turn = {};
  asked.set(element, turn);
  element.setAttribute("aria-busy", "true");
  const found = await compareWords(before, after).catch(() => null);
  if (asked.get(element) !== turn) return null;
  element.removeAttribute("aria-busy");
  redraw(element, found ? lines(found.parts) : []);
  return found ?? { failed: t("The texts could not be compared. Reload the page.") };
}

/* The parts as lines, each a list of [kind, text]; every line but the last keeps its line break. */
function lines(parts) {
  const made = [[]];
  parts.forEach((part, i) => {
    for (const { kind, text } of part.kind === "same" ? folded(part.text, i, parts.length) : [part]) {
      for (const piece of text.split(/(?<=\n)/)) {
        made.at(-1).push([kind, piece]);
        if (piece.endsWith("\n")) made.push([]);
      }
    }
  });
  return made;
}

/* A long stretch without a change is folded to what stands beside the changes. */
function folded(text, i, n) {
  if (text.length <= FOLD_ABOVE) return [{ kind: "same", text }];
  const head = i === 0 ? "" : text.slice(0, text.indexOf(" ", CONTEXT) + 1);
  const tail = i === n - 1 ? "" : text.slice(text.lastIndexOf(" ", text.length - CONTEXT) + 1);
  const stretch = [{ kind: "same", text: head }, { kind: "fold", text: t("… the same …") }, { kind: "same", text: tail }];
  return stretch.filter((part) => part.text);
}

function redraw(element, next) {
  const signs = next.map((line) => JSON.stringify(line));
  const before = drawn.get(element) ?? [];
  const most = Math.min(before.length, signs.length);
  let head = 0;
  while (head < most && before[head] === signs[head]) head++;
  let tail = 0;
  while (tail < most - head && before.at(-1 - tail) === signs.at(-1 - tail)) tail++;
  const after = element.children[before.length - tail] ?? null;
  for (const line of [...element.children].slice(head, before.length - tail)) line.remove();
  for (const line of next.slice(head, next.length - tail)) element.insertBefore(lineElement(line), after);
  drawn.set(element, signs);
}

const TAGS = { gone: "del", new: "ins", fold: "span" };

function lineElement(pieces) {
  const line = document.createElement("div");
  line.className = "diff-line";
  for (const [kind, text] of pieces) line.append(kind === "same" ? text : pieceElement(kind, text));
  return line;
}

function pieceElement(kind, text) {
  const element = document.createElement(TAGS[kind]);
  if (kind === "fold") element.className = "diff-same";
  else element.append(hidden(kind === "gone" ? `[${t("removed:")} ` : `[${t("added:")} `));
  element.append(text);
  if (kind !== "fold") element.append(hidden("] "));
  return element;
}

function hidden(text) {
  return Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: text });
}
