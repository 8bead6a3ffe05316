/* One shown text and its source: a selection to offsets and back. Offsets are code points of the stored source.

   The server puts every piece of text in an element `data-at="START"`: its first character is code point START of the
   source, the next START + 1, and so on; with `data-to="END"` all of it stands for [START, END), as "&" for "&amp;". */

export class SpanText {
  /** `element` holds the pieces: the rendered text, or the raw one. */
  constructor(element) {
    this.element = element;
    this.pieces = [...element.querySelectorAll("[data-at]")].flatMap(piecesOf);
    this.byNode = new Map(this.pieces.map((piece, i) => [piece.node, i]));
  }

  /** Whether something can be marked here. A text that the server could not place has no pieces. */
  get isPlaced() {
    return this.pieces.length > 0;
  }

  /** What a DOM range marks: {start, end}, or null when it holds no character of this text. */
  offsets(range) {
    let first = this.firstWhere(({ node }) => range.comparePoint(node, node.length) >= 0);
    let last = this.firstWhere(({ node }) => range.comparePoint(node, 0) > 0) - 1;
    if (range.startContainer === this.pieces[first]?.node && range.startOffset === range.startContainer.length) first += 1;
    if (range.endContainer === this.pieces[last]?.node && range.endOffset === 0) last -= 1;
    if (first > last || first >= this.pieces.length) return null;
    const [head, tail] = [this.pieces[first], this.pieces[last]];
    const start = startAt(head, range.startContainer === head.node ? range.startOffset : 0);
    const end = endAt(tail, range.endContainer === tail.node ? range.endOffset : tail.node.length);
    return start < end ? { start, end } : null;
  }

  /** Where the character behind a DOM position stands in the source, or null. */
  offsetAt(node, unit) {
    const piece = this.pieces[this.byNode.get(node)];
    return piece ? startAt(piece, Math.min(unit, node.length - 1)) : null;
  }

  /** The DOM range that shows [start, end) of the source; null when nothing of it is shown (the address of a link). */
  range(start, end) {
    const first = this.firstWhere((piece) => piece.end > start);
    const last = this.firstWhere((piece) => piece.start >= end) - 1;
    if (first > last) return null;
    const [head, tail] = [this.pieces[first], this.pieces[last]];
    return new StaticRange({
      startContainer: head.node,
      startOffset: unitOf(head, start, 0),
      endContainer: tail.node,
      endOffset: unitOf(tail, end, tail.node.length),
    });
  }

  /* The number of pieces before the first that meets a condition which all later ones meet, too. */
  firstWhere(meets) {
    let [low, high] = [0, this.pieces.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (meets(this.pieces[middle])) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}

/* The text nodes of a placed element; highlighted code has several. */
function piecesOf(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const whole = "to" in element.dataset;
  const pieces = [];
  let start = Number(element.dataset.at);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const points = codePoints(node.data);
    const end = whole ? Number(element.dataset.to) : start + points;
    // most texts are made of single units, and then nothing needs to be counted
    if (points) pieces.push({ node, start, end, whole, plain: points === node.length });
    if (!whole) start = end;
  }
  return pieces;
}

function startAt(piece, unit) {
  if (piece.whole) return piece.start;
  return piece.start + (piece.plain ? unit : codePoints(piece.node.data.slice(0, unit - Number(splitsPair(piece.node.data, unit)))));
}

function endAt(piece, unit) {
  if (piece.whole) return piece.end;
  return piece.start + (piece.plain ? unit : codePoints(piece.node.data.slice(0, unit + Number(splitsPair(piece.node.data, unit)))));
}

/* The unit of a piece at a source offset; an offset outside of it, or inside of a whole, answers `otherwise`. */
function unitOf(piece, offset, otherwise) {
  if (piece.whole || offset <= piece.start || offset >= piece.end) return otherwise;
  const points = offset - piece.start;
  return piece.plain ? points : [...piece.node.data].slice(0, points).join("").length;
}

function splitsPair(text, unit) {
  return unit > 0 && unit < text.length && text.codePointAt(unit - 1) > 0xffff;
}

function codePoints(text) {
  let points = text.length;
  for (let i = 0; i < text.length - 1; i += 1) if (text.codePointAt(i) > 0xffff) points -= 1;
  return points;
}
