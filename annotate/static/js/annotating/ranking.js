/* A ranking question on the screen: cards on tiers, the best first, and below them those not ranked yet. */

import { t } from "../i18n.js";
import { Control } from "./control.js";
import { wireDragging } from "./dragging.js";
import { announce } from "./notice.js";
import * as tiersOf from "./tiers.js";

const LETTERS = "ABCDEFGHIJKL";
const TIE_EDGE = 0.28; // the outer parts of a card mean before and after it, the middle a tie with it

export class Ranking extends Control {
  constructor(section, question, context) {
    super(section, question, context);
    this.list = section.querySelector("[data-tiers]");
    this.pool = section.querySelector("[data-pool]");
    this.cards = [...section.querySelectorAll("[data-card]")];
    this.tiers = [];
    this.unacceptable = new Set();
    this.active = null; // the card that keys without one mean
    this.before = null; // the tiers before a card was picked up
    const { signal } = this;
    section.addEventListener("keydown", (event) => this.onKey(event), { signal });
    section.addEventListener("click", (event) => this.onClick(event), { signal });
    section.addEventListener("focusin", (event) => this.onFocus(event), { signal });
    section.addEventListener("focusout", (event) => this.onBlur(event), { signal });
    wireDragging(this.rows[0], { over: (card, y) => this.over(card, y), drop: (card, target) => this.drop(card, target) }, signal);
  }

  read() {
    if (!this.tiers.length && !this.unacceptable.size) return null;
    const stored = (positions) => positions.map((position) => this.order[position]).sort((a, b) => a - b);
    return { groups: this.tiers.map(stored), unacceptable: stored([...this.unacceptable]) };
  }

  write(answer) {
    const shown = (indexes) => indexes.map((index) => this.order.indexOf(index)).sort((a, b) => a - b);
    this.tiers = (answer?.groups ?? []).map(shown);
    this.unacceptable = new Set(shown(answer?.unacceptable ?? []));
  }

  missing() {
    const { required, allow_partial: partial } = this.question;
    if (!required && this.read() === null) return "";
    if (partial) return required && this.read() === null ? t("Rank at least one completion") : "";
    return this.unranked().length ? t("Rank every completion") : "";
  }

  summary() {
    return this.tiers.map((tier) => tier.map((item) => LETTERS[item]).join(" = ")).join(" > ");
  }

  marks() {
    const words = (item, rank) => (this.unacceptable.has(item) ? t("Rank {n}, unacceptable", { n: rank }) : t("Rank {n}", { n: rank }));
    const bad = [...this.unacceptable].map((item) => [item, { words: t("Unacceptable") }]);
    const ranked = this.tiers.flatMap((tier, i) => tier.map((item) => [item, { words: words(item, i + 1), chosen: i === 0 }]));
    return Object.fromEntries([...bad, ...ranked]);
  }

  unranked() {
    return this.cards.map((_, item) => item).filter((item) => tiersOf.tierOf(this.tiers, item) === -1);
  }

  /** Lay the cards out; the focus stays on the card that has it. */
  describe() {
    const focused = document.activeElement;
    this.list.replaceChildren(...this.tiers.map((tier, i) => this.tierElement(tier, i)));
    this.pool.querySelector("[data-unranked]").replaceChildren(...this.unranked().map((item) => this.cards[item]));
    this.pool.hidden = !this.unranked().length && !this.question.allow_partial;
    this.cards.forEach((card, item) => this.describeCard(card, item));
    if (this.section.contains(focused) && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }

  tierElement(tier, i) {
    const element = document.createElement("li");
    element.className = tier.length > 1 ? "tier is-tie" : "tier";
    const rank = Object.assign(document.createElement("span"), { className: "tier-rank numeric", textContent: String(i + 1) });
    rank.setAttribute("aria-hidden", "true");
    const cards = Object.assign(document.createElement("div"), { className: "tier-cards" });
    cards.append(...tier.map((item) => this.cards[item]));
    element.append(rank, cards);
    return element;
  }

  describeCard(card, item) {
    const at = tiersOf.tierOf(this.tiers, item);
    const alone = at !== -1 && this.tiers[at].length === 1;
    const bad = this.unacceptable.has(item);
    card.setAttribute("aria-label", this.words(item));
    card.classList.toggle("is-unacceptable", bad);
    card.querySelector('[data-move="unacceptable"]')?.setAttribute("aria-pressed", String(bad));
    const stuck = { up: at === 0 && alone, down: at === -1, tie: at === 0 || (at === -1 && !this.tiers.length) };
    for (const [move, off] of Object.entries(stuck)) {
      card.querySelector(`[data-move="${move}"]`)?.setAttribute("aria-disabled", String(off));
    }
  }

  /** Where a card is, in words for a screen reader. */
  words(item) {
    const at = tiersOf.tierOf(this.tiers, item);
    const letter = LETTERS[item];
    const others = (this.tiers[at] ?? []).filter((one) => one !== item).map((one) => LETTERS[one]).join(", ");
    const place = { letter, rank: at + 1, all: this.tiers.length, others };
    if (at === -1) return this.withVerdict(item, t("{letter}, not ranked", place));
    const words = others ? t("{letter}, rank {rank} of {all}, tied with {others}", place) : t("{letter}, rank {rank} of {all}", place);
    return this.withVerdict(item, words);
  }

  withVerdict(item, words) {
    return this.unacceptable.has(item) ? t("{words}, unacceptable", { words }) : words;
  }

  /** Take over new tiers, say what became of `item`, and tell the Room. */
  arrange(tiers, item) {
    this.tiers = tiers;
    this.active = item;
    this.changed();
    announce(this.words(item));
  }

  act(move, item) {
    if (move === "unacceptable") {
      if (!this.question.allow_unacceptable) return;
      if (!this.unacceptable.delete(item)) this.unacceptable.add(item);
      this.arrange(this.tiers, item);
    } else if (move !== "tie" || this.question.allow_ties) {
      const moved = { up: tiersOf.up, down: tiersOf.down, tie: tiersOf.tieAbove }[move];
      this.arrange(moved(this.tiers, item), item);
    }
  }

  onClick(event) {
    const button = event.target.closest("[data-move]");
    if (!button || button.getAttribute("aria-disabled") === "true") return;
    this.act(button.dataset.move, itemOf(button));
  }

  onFocus(event) {
    const card = event.target.closest("[data-card]");
    if (card) this.active = itemOf(card);
  }

  /* Arrows walk the cards; Space picks one up, and then they move it. */
  onKey(event) {
    if (!event.target.matches("[data-card]") || event.ctrlKey || event.metaKey || event.altKey) return;
    const item = itemOf(event.target);
    const lifted = this.before !== null;
    const run = {
      " ": () => (lifted ? this.putDown(item) : this.pickUp(item)),
      ArrowUp: () => (lifted ? this.act("up", item) : this.walk(item, -1)),
      ArrowDown: () => (lifted ? this.act("down", item) : this.walk(item, 1)),
      Enter: lifted ? () => this.putDown(item) : null,
      Escape: lifted ? () => this.putBack(item) : null,
    }[event.key];
    if (!run) return;
    event.preventDefault();
    run();
  }

  pickUp(item) {
    this.before = this.tiers;
    this.cards[item].classList.add("is-lifted");
    announce(t("{words}, picked up. Arrow keys move it, Space puts it down, Escape puts it back.", { words: this.words(item) }));
  }

  putDown(item) {
    this.before = null;
    this.cards[item].classList.remove("is-lifted");
    announce(t("{words}, put down", { words: this.words(item) }));
  }

  putBack(item) {
    const { before } = this;
    this.before = null;
    this.cards[item].classList.remove("is-lifted");
    this.arrange(before, item);
    announce(t("{words}, put back", { words: this.words(item) }));
  }

  /* Whoever leaves a card that is picked up leaves it where it is; laying out moves the focus away and back. */
  onBlur(event) {
    if (this.before === null || !event.relatedTarget || event.relatedTarget === event.target) return;
    this.putDown(itemOf(event.target));
  }

  walk(item, step) {
    const shown = [...this.section.querySelectorAll("[data-card]")];
    shown[shown.indexOf(this.cards[item]) + step]?.focus();
  }

  /** A digit gives the next rank to that completion, or takes its rank back; `=` ties and `-` rejects the card last used. */
  press(row, key) {
    const item = Number(key) - 1;
    if (/^[1-9]$/.test(key) && item < this.cards.length) {
      const ranked = tiersOf.tierOf(this.tiers, item) !== -1;
      this.arrange(ranked ? tiersOf.without(this.tiers, item) : tiersOf.placeLast(this.tiers, item), item);
      this.cards[item].focus({ preventScroll: true });
      return true;
    }
    const move = { "=": "tie", "-": "unacceptable" }[key];
    if (!move || this.active === null) return false;
    this.act(move, this.active);
    return true;
  }

  showErrors({ unacceptable, ...errors }) {
    return super.showErrors({ ...errors, groups: errors.groups ?? unacceptable });
  }

  /** Show where a card dragged to `y` would land, and answer it; without `y` show nothing. */
  over(card, y) {
    for (const shown of this.section.querySelectorAll("[data-drop]")) delete shown.dataset.drop;
    if (y === null) return null;
    const target = this.targetAt(itemOf(card), y);
    const tier = target.other === undefined ? null : this.cards[target.other].closest(".tier");
    const where = target.side === "pool" ? this.pool : target.side === "tie" ? this.cards[target.other] : (tier ?? this.list);
    where.dataset.drop = target.side;
    return target;
  }

  targetAt(item, y) {
    if (!this.pool.hidden && y >= this.pool.getBoundingClientRect().top) return { side: "pool" };
    const others = tiersOf.without(this.tiers, item);
    for (const tier of others) {
      for (const other of tier) {
        const { top, bottom, height } = this.cards[other].getBoundingClientRect();
        if (y > bottom) continue;
        return { other, side: this.sideOf(Math.max(0, (y - top) / height), tier, other) };
      }
    }
    return others.length ? { other: others.at(-1)[0], side: "after" } : { side: "first" };
  }

  sideOf(part, tier, other) {
    if (!this.question.allow_ties) return part < 0.5 ? "before" : "after";
    if (part < TIE_EDGE && other === tier[0]) return "before";
    return part > 1 - TIE_EDGE && other === tier.at(-1) ? "after" : "tie";
  }

  drop(card, { side, other }) {
    const item = itemOf(card);
    const { tiers } = this;
    const placed = {
      pool: () => tiersOf.without(tiers, item),
      first: () => tiersOf.placeLast(tiers, item),
      tie: () => tiersOf.tieWith(tiers, item, other),
    }[side] ?? (() => tiersOf.placeBeside(tiers, item, other, side));
    this.arrange(placed(), item);
    card.focus({ preventScroll: true });
  }
}

function itemOf(element) {
  return Number(element.closest("[data-card]").dataset.card);
}
