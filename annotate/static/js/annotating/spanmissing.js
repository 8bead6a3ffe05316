/* Information that a completion lacks: which completion, what, and maybe the passage that says it. */

import { t } from "../i18n.js";

export class MissingItems {
  /** `row` is the [data-row="missing"] of the question, `element` the room; `changed()` after items came or went. */
  constructor(row, element, { changed, signal }) {
    Object.assign(this, { row, changed });
    this.items = row.querySelector("[data-missing-items]");
    this.template = row.querySelector("[data-missing-item]");
    this.passages = [...element.querySelectorAll("[data-passage]")];
    row.addEventListener("click", (event) => this.onClick(event), { signal });
    row.addEventListener("change", (event) => this.onChange(event), { signal, capture: true });
  }

  read() {
    return [...this.items.children].map((item) => item.read()).filter((item) => item.text || item.passage !== null);
  }

  write(items) {
    this.items.replaceChildren();
    for (const item of items) this.add(item);
  }

  add(stored) {
    const item = this.template.content.firstElementChild.cloneNode(true);
    const target = item.querySelector("[data-missing-target]");
    const passage = item.querySelector("[data-missing-passage]");
    const text = item.querySelector("[data-missing-text]");
    passage.append(...this.passages.map((one) => new Option(this.titleOf(one), one.dataset.passage)));
    passage.closest("label").hidden = this.passages.length === 0;
    target.value = String(stored.target ?? target.value);
    passage.value = String(stored.passage ?? "");
    text.value = stored.text ?? "";
    item.read = () => ({ target: Number(target.value), text: text.value.trim(), ...source(passage, stored) });
    this.items.append(item);
    this.describe(item);
    return text;
  }

  describe(item) {
    item.querySelector("[data-missing-show]").hidden = item.read().passage === null || !this.passages.length;
  }

  titleOf(passage) {
    const title = passage.querySelector(".passage-title [dir]")?.textContent.trim() ?? "";
    return t("Passage {n} {title}", { n: Number(passage.dataset.passage) + 1, title }).trim();
  }

  onClick(event) {
    const item = event.target.closest(".missing-item");
    if (event.target.closest("[data-missing-add]")) this.add({}).focus();
    else if (event.target.closest("[data-missing-show]")) this.show(item.read().passage);
    else if (event.target.closest("[data-missing-delete]")) {
      item.remove();
      this.row.querySelector("[data-missing-add]").focus();
      this.changed();
    }
  }

  onChange(event) {
    const item = event.target.closest(".missing-item");
    if (item) this.describe(item);
  }

  show(index) {
    const passage = this.passages.find((one) => Number(one.dataset.passage) === index);
    if (!passage) return;
    passage.open = true;
    passage.scrollIntoView({ block: "center" });
    passage.querySelector("summary")?.focus({ preventScroll: true });
  }
}

/* The passage that is chosen; its sentences are known only of the one that was stored. */
function source(select, stored) {
  const offered = select.options.length > 1;
  const passage = offered ? (select.value === "" ? null : Number(select.value)) : stored.passage ?? null;
  return { passage, sentences: passage === (stored.passage ?? null) ? stored.sentences ?? [] : [] };
}
