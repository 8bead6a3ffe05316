/* Rank groups ("tiers"): lists of items that share a rank, the best tier first. An item in no tier is unranked. Pure: every
   function answers new tiers. */

export function tierOf(tiers, item) {
  return tiers.findIndex((tier) => tier.includes(item));
}

export function without(tiers, item) {
  return tiers.map((tier) => tier.filter((one) => one !== item)).filter((tier) => tier.length > 0);
}

/** The item alone on a tier of its own, which is number `at` among the tiers of the others. */
export function placeAt(tiers, item, at) {
  const others = without(tiers, item);
  return [...others.slice(0, at), [item], ...others.slice(at)];
}

/** The item alone, before ("before") or after ("after") the tier that holds `other`. */
export function placeBeside(tiers, item, other, side) {
  const at = tierOf(without(tiers, item), other);
  return placeAt(tiers, item, side === "after" ? at + 1 : at);
}

export function placeLast(tiers, item) {
  return placeAt(tiers, item, tiers.length);
}

/** The item on the tier that holds `other`. */
export function tieWith(tiers, item, other) {
  const others = without(tiers, item);
  return others.map((tier) => (tier.includes(other) ? [...tier, item].sort((a, b) => a - b) : tier));
}

/** One step better: out of a tie, over the tier above, or from the unranked to the last rank. */
export function up(tiers, item) {
  const at = tierOf(tiers, item);
  if (at === -1) return placeLast(tiers, item);
  return placeAt(tiers, item, tiers[at].length > 1 ? at : Math.max(0, at - 1));
}

/** One step worse: out of a tie, below the next tier, or from the last rank to the unranked. */
export function down(tiers, item) {
  const at = tierOf(tiers, item);
  if (at === -1) return tiers;
  if (tiers[at].length === 1 && at === tiers.length - 1) return without(tiers, item);
  return placeAt(tiers, item, at + 1);
}

/** Onto the tier above; an unranked item joins the last one. The best tier stays. */
export function tieAbove(tiers, item) {
  const at = tierOf(tiers, item);
  const above = tiers[at === -1 ? tiers.length - 1 : at - 1];
  return above ? tieWith(tiers, item, above[0]) : tiers;
}
