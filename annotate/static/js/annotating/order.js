/* Answers are stored in the order of the instance; the screen shows the order of the assignment. */

/** The same preference with the sides exchanged; ties, both-bad and cannot-judge stay. */
export function mirror(value) {
  if (value.startsWith("a-is-")) return `b-is-${value.slice(5)}`;
  if (value.startsWith("b-is-")) return `a-is-${value.slice(5)}`;
  return value;
}

/** Whether the left completion of the screen is the second stored one. `order[position] = stored index`. */
export function isSwapped(order) {
  return order[0] === 1;
}

/**
 * A preference answer from screen order to stored order or back (exchanging the sides twice changes nothing).
 */
export function reordered(answer, order) {
  if (!isSwapped(order)) return answer;
  const aspects = Object.entries(answer.aspects ?? {}).map(([aspect, value]) => [aspect, mirror(value)]);
  return { ...answer, value: answer.value && mirror(answer.value), aspects: Object.fromEntries(aspects) };
}

/** What is said of each completion, from the order of the screen to the stored one. */
export function toStored(list, order) {
  const stored = [];
  order.forEach((index, position) => (stored[index] = list[position]));
  return stored;
}

/** What is said of each completion, from the stored order to the one of the screen. */
export function toScreen(list, order) {
  return order.map((index) => list[index]);
}

/** Whether two JSON values say the same, whatever the order of their keys. */
export function same(one, other) {
  return canonical(one) === canonical(other);
}

/** A short mark of what a JSON value says (cyrb53): equal values have equal ones, others others but by accident (2⁻⁵³). */
export function fingerprint(value) {
  let [a, b] = [0xdeadbeef, 0x41c6ce57];
  for (const character of canonical(value)) {
    const code = character.codePointAt(0);
    a = Math.imul(a ^ code, 2654435761);
    b = Math.imul(b ^ code, 1597334677);
  }
  a = Math.imul(a ^ (a >>> 16), 2246822507) ^ Math.imul(b ^ (b >>> 13), 3266489909);
  b = Math.imul(b ^ (b >>> 16), 2246822507) ^ Math.imul(a ^ (a >>> 13), 3266489909);
  return (2 ** 32 * (0x1fffff & b) + (a >>> 0)).toString(36);
}

function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const entries = Object.keys(value).sort().map((key) => `${JSON.stringify(key)}:${canonical(value[key])}`);
  return `{${entries.join(",")}}`;
}
