/* A word diff on the page: what is gone struck through, what is new underlined, both said in words to screen readers. */

import { t, tn } from "../i18n.js";
import { diffWords, words } from "./worddiff.js";

const FOLD_ABOVE = 300;
const CONTEXT = 60;

/** Draw the way from `before` to `after` into `element`. Answers {gone, added, cut}, the first two in words. */
export function drawDiff(element, before, after) {
  const { parts, cut } = diffWords(before, after);
  const drawn = document.createDocumentFragment();
  parts.forEach((part, i) => drawn.append(part.kind === "same" ? same(part.text, i, parts.length) : change(part)));
  element.replaceChildren(drawn);
  return { gone: counted(parts, "gone"), added: counted(parts, "new"), cut };
}

function change({ kind, text }) {
  const element = document.createElement(kind === "gone" ? "del" : "ins");
  const spoken = kind === "gone" ? t("removed:") : t("added:");
  element.append(hidden(`[${spoken} `), text, hidden("] "));
  return element;
}

/* A long stretch without a change is folded to what stands beside the changes. */
function same(text, i, n) {
  const tokens = words(text);
  if (tokens.length <= FOLD_ABOVE) return document.createTextNode(text);
  const head = i === 0 ? "" : tokens.slice(0, CONTEXT).join("");
  const tail = i === n - 1 ? "" : tokens.slice(-CONTEXT).join("");
  const folded = document.createElement("span");
  folded.className = "diff-same";
  folded.textContent = `… ${tn("{n} word the same", "{n} words the same", countWords(text))} …`;
  const stretch = document.createDocumentFragment();
  stretch.append(head, folded, tail);
  return stretch;
}

function hidden(text) {
  return Object.assign(document.createElement("span"), { className: "visually-hidden", textContent: text });
}

function counted(parts, kind) {
  return parts.filter((part) => part.kind === kind).reduce((sum, part) => sum + countWords(part.text), 0);
}

function countWords(text) {
  return words(text).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}
