/* The list of spans in the form, by text: jump to one, edit it, delete it; the running severity score of each completion. */

import { t, tn } from "../i18n.js";
import { slotOf } from "./spanpaint.js";
import { isTimed } from "./spantimes.js";

const FIRST_SHOWN = 200;
const number = new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: 2 });

export class SpanList {
  /** `open(span)` and `remove(span)` are called by the buttons of a row, `point(span | null)` for the row pointed at. */
  constructor(element, question, room, { open, remove, point, signal }) {
    Object.assign(this, { element, question, room });
    this.groups = new Map();
    this.shownOf = new Map();
    element.addEventListener("click", (event) => this.onClick(event, open, remove), { signal });
    const over = (event) => point(this.spanOf(event.target));
    for (const name of ["pointerover", "focusin"]) element.addEventListener(name, over, { signal });
    for (const name of ["pointerleave", "focusout"]) element.addEventListener(name, () => point(null), { signal });
  }

  /** Draw the group of one target; `spans` are its spans in reading order. */
  draw(target, spans) {
    const group = this.groups.get(target) ?? this.made(target);
    group.hidden = spans.length === 0;
    group.spans = spans;
    const count = tn("{n} span", "{n} spans", spans.length);
    const score = this.score(spans);
    group.querySelector("[data-count]").textContent = score === null ? count : t("{count} · severity {score}", { count, score: number.format(score) });
    const shown = spans.slice(0, this.shownOf.get(target) ?? FIRST_SHOWN);
    group.querySelector("ol").replaceChildren(...shown.map((span) => this.row(span)));
    const more = group.querySelector("[data-more]");
    more.hidden = shown.length === spans.length;
    more.textContent = t("Show {n} more", { n: Math.min(FIRST_SHOWN, spans.length - shown.length) });
  }

  /** The sum of the severities' weights; null where nothing has a severity. */
  score(spans) {
    const weights = spans.map((span) => this.question.severities[span.severity]).filter((weight) => weight !== undefined);
    return weights.length ? weights.reduce((sum, weight) => sum + weight, 0) : null;
  }

  made(target) {
    const group = document.createElement("section");
    group.className = "span-group";
    group.dataset.target = target;
    const name = this.room.nameOf(target);
    const head = make("h3", "span-group-head");
    const letter = name.length === 1 ? `letter letter-${name.toLowerCase()}` : "";
    head.append(make("span", letter, name), make("span", "muted numeric"));
    head.lastChild.dataset.count = "";
    const more = Object.assign(make("button", "button button-quiet button-small"), { type: "button" });
    more.dataset.more = "";
    group.append(head, make("ol", "spans"), more);
    this.groups.set(target, group);
    const after = this.room.targets.slice(this.room.targets.indexOf(target) + 1).map((one) => this.groups.get(one)).find(Boolean);
    this.element.insertBefore(group, after ?? null);
    return group;
  }

  row(span) {
    const item = document.createElement("li");
    item.span = span;
    const open = Object.assign(make("button", "span-row"), { type: "button" });
    const words = make("span", "span-words");
    const index = this.question.types.findIndex((kind) => kind.name === span.type);
    words.append(own("span", `span-type span-look-${slotOf(index)}`, span.type));
    if (span.subtype) words.append(own("span", "", span.subtype));
    if (span.severity) words.append(own("span", "span-severity", span.severity));
    if (span.confidence) words.append(make("span", "muted", t("sure {n} of 5", { n: span.confidence })));
    open.append(words, own(isTimed(span) ? "span" : "q", "span-quote", this.room.quote(span)));
    if (span.comment) open.append(own("span", "span-comment", span.comment));
    const remove = Object.assign(make("button", "button button-quiet button-small button-icon span-delete", "×"), { type: "button" });
    remove.dataset.delete = "";
    remove.setAttribute("aria-label", t("Delete span"));
    item.append(open, remove);
    return item;
  }

  onClick(event, open, remove) {
    const group = event.target.closest(".span-group");
    if (event.target.closest("[data-more]")) {
      const target = Number(group.dataset.target);
      this.shownOf.set(target, (this.shownOf.get(target) ?? FIRST_SHOWN) + FIRST_SHOWN);
      return this.draw(target, group.spans);
    }
    const span = this.spanOf(event.target);
    if (!span) return undefined;
    return event.target.closest("[data-delete]") ? remove(span) : open(span);
  }

  spanOf(target) {
    return target.closest("li")?.span ?? null;
  }
}

function make(tag, className = "", text = "") {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

/* Words of the task or of people, in their own direction. */
function own(tag, className, text) {
  return Object.assign(make(tag, className, text), { dir: "auto" });
}
