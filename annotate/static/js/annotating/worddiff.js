/* What changed between two texts, by words: Myers' shortest edit script, with a bound on the work.

   Texts that are too far apart for it are first cut at the words that both have exactly once, in the same order (the
   longest such row, as in a patience diff); a piece that is still too far apart is told as a whole, and `cut` says so. */

const LETTERS = "\\p{L}\\p{M}\\p{N}_'’\u200c\u200d";
// scripts that write no spaces go by single characters
const TOKEN = new RegExp(`[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}]\\p{M}*|[${LETTERS}]+|[^\\S\\n]+|\\n|.\\p{M}*`, "gsu");
const MAX_EDITS = 400;

/** Words, single other characters and stretches of white space, which joined give `text` again. */
export function words(text) {
  return text.match(TOKEN) ?? [];
}

/**
 * {parts: [{kind: "same" | "gone" | "new", text}], gone, added, cut}. `gone` and `added` count words. The same and gone parts joined are `before`, the same and new
 * ones `after`; `cut` says that some piece is told as a whole though words of it may be unchanged.
 */
export function diffWords(before, after) {
  const [head, tail] = commonLines(before, after);
  const middle = [before, after].map((text) => words(text.slice(head, text.length - tail)));
  const [a, b] = numbered(middle);
  const found = { edits: [], cut: false };
  compare(a, b, { a0: 0, a1: a.length, b0: 0, b1: b.length }, found);
  const same = [before.slice(0, head), before.slice(before.length - tail)];
  const parts = framed(same, readable(middle, found.edits));
  return { parts, gone: counted(parts, "gone"), added: counted(parts, "new"), cut: found.cut };
}

function counted(parts, kind) {
  return parts.filter((part) => part.kind === kind).reduce((sum, part) => sum + countWords(part.text), 0);
}

function countWords(text) {
  return words(text).filter((word) => /[\p{L}\p{N}]/u.test(word)).length;
}

/* How much of both texts is the same at the start and at the end, in whole lines: what was typed is between. */
function commonLines(before, after) {
  const most = Math.min(before.length, after.length);
  if (before === after) return [most, 0];
  let head = 0;
  while (head < most && before.charCodeAt(head) === after.charCodeAt(head)) head++;
  head = before.slice(0, head).lastIndexOf("\n") + 1;
  let tail = 0;
  while (tail < most - head && before.charCodeAt(before.length - 1 - tail) === after.charCodeAt(after.length - 1 - tail)) tail++;
  const line = before.indexOf("\n", before.length - tail);
  return [head, line === -1 ? 0 : before.length - line];
}

/* The parts with what is the same before and after them. */
function framed([head, tail], parts) {
  const all = parts.slice();
  if (head && all[0]?.kind === "same") all[0] = { kind: "same", text: head + all[0].text };
  else if (head) all.unshift({ kind: "same", text: head });
  if (tail && all.at(-1)?.kind === "same") all[all.length - 1] = { kind: "same", text: all.at(-1).text + tail };
  else if (tail) all.push({ kind: "same", text: tail });
  return all;
}

/* Equal words get equal numbers, which compare faster. */
function numbered(texts) {
  const numbers = new Map();
  const number = (word) => numbers.get(word) ?? (numbers.set(word, numbers.size), numbers.size - 1);
  return texts.map((text) => Int32Array.from(text, number));
}

/* Adds the edits of one window, in order: {a0, a1, b0, b1} says that a[a0, a1) became b[b0, b1). */
function compare(a, b, window, found) {
  const { a0, a1, b0, b1 } = trimmed(a, b, window);
  if (a0 === a1 && b0 === b1) return;
  const whole = { a0, a1, b0, b1 };
  if (a0 === a1 || b0 === b1) return void found.edits.push(whole);
  const script = shortest(a, b, whole);
  if (script) return void found.edits.push(...script);
  const anchors = commonOnce(a, b, whole);
  if (!anchors.length) {
    found.cut = true;
    found.edits.push(whole);
    return;
  }
  let from = [a0, b0];
  for (const [i, j] of [...anchors, [a1, b1]]) {
    compare(a, b, { a0: from[0], a1: i, b0: from[1], b1: j }, found);
    from = [i + 1, j + 1];
  }
}

function trimmed(a, b, { a0, a1, b0, b1 }) {
  while (a0 < a1 && b0 < b1 && a[a0] === b[b0]) a0++, b0++;
  while (a0 < a1 && b0 < b1 && a[a1 - 1] === b[b1 - 1]) a1--, b1--;
  return { a0, a1, b0, b1 };
}

/* Myers' greedy algorithm (1986): furthest[k] is how far along a the diagonal k = x - y was reached with d edits. Null
   when more than MAX_EDITS are needed. */
function shortest(a, b, { a0, a1, b0, b1 }) {
  const n = a1 - a0;
  const m = b1 - b0;
  const bound = Math.min(n + m, MAX_EDITS);
  if (Math.abs(n - m) > bound) return null;
  const furthest = new Int32Array(2 * bound + 3);
  const at = (k) => k + bound + 1;
  const reached = [];
  for (let d = 0; d <= bound; d++) {
    for (let k = -d; k <= d; k += 2) {
      const down = k === -d || (k !== d && furthest[at(k - 1)] < furthest[at(k + 1)]);
      let x = down ? furthest[at(k + 1)] : furthest[at(k - 1)] + 1;
      while (x < n && x - k < m && a[a0 + x] === b[b0 + x - k]) x++;
      furthest[at(k)] = x;
      if (x >= n && x - k >= m) return walkedBack(reached, { a0, b0, n, m, d });
    }
    reached.push(furthest.slice(at(-d), at(d) + 1));
  }
  return null;
}

function walkedBack(reached, { a0, b0, n, m, d }) {
  const edits = [];
  let [x, y] = [n, m];
  for (; d > 0; d--) {
    const row = reached[d - 1];
    const get = (k) => (Math.abs(k) <= d - 1 ? row[k + d - 1] : -1);
    const k = x - y;
    const down = k === -d || (k !== d && get(k - 1) < get(k + 1));
    const before = down ? get(k + 1) : get(k - 1);
    const [px, py] = [before, before - (down ? k + 1 : k - 1)];
    edits.push(down ? { a0: a0 + px, a1: a0 + px, b0: b0 + py, b1: b0 + py + 1 } : { a0: a0 + px, a1: a0 + px + 1, b0: b0 + py, b1: b0 + py });
    [x, y] = [px, py];
  }
  return edits.reverse();
}

/* Positions [i, j] of what stands exactly once in either window: the longest row that rises in both. */
function commonOnce(a, b, { a0, a1, b0, b1 }) {
  const seen = new Map();
  const count = (array, from, to, side) => {
    for (let i = from; i < to; i++) {
      const entry = seen.get(array[i]) ?? { times: [0, 0], at: [0, 0] };
      entry.times[side]++;
      entry.at[side] = i;
      seen.set(array[i], entry);
    }
  };
  count(a, a0, a1, 0);
  count(b, b0, b1, 1);
  const pairs = [...seen.values()].filter(({ times }) => times[0] === 1 && times[1] === 1).map(({ at }) => at);
  return rising(pairs.sort((one, other) => one[0] - other[0]));
}

/* The longest subsequence whose second numbers rise (patience sorting). */
function rising(pairs) {
  const piles = [];
  const previous = new Map();
  for (const pair of pairs) {
    let [low, high] = [0, piles.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (piles[middle][1] < pair[1]) low = middle + 1;
      else high = middle;
    }
    previous.set(pair, piles[low - 1]);
    piles[low] = pair;
  }
  const row = [];
  for (let pair = piles.at(-1); pair; pair = previous.get(pair)) row.push(pair);
  return row.reverse();
}

/* The edits as parts of text. Neighbours are joined, over white space too: "old words" → "new ones" reads better whole. */
function readable([before, after], edits) {
  const joined = [];
  for (const edit of edits) {
    const last = joined.at(-1);
    if (last && onlySpaces(before, last.a1, edit.a0)) [last.a1, last.b1] = [edit.a1, edit.b1];
    else joined.push({ ...edit });
  }
  const parts = [];
  const add = (kind, tokens, from, to) => {
    if (from < to) parts.push({ kind, text: tokens.slice(from, to).join("") });
  };
  let done = 0;
  for (const { a0, a1, b0, b1 } of joined) {
    add("same", before, done, a0);
    add("gone", before, a0, a1);
    add("new", after, b0, b1);
    done = a1;
  }
  add("same", before, done, before.length);
  return parts;
}

function onlySpaces(tokens, from, to) {
  for (let i = from; i < to; i++) if (/\S|\n/.test(tokens[i])) return false;
  return true;
}
