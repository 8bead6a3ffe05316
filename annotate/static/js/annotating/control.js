/* What the controls of all kinds of question have in common. The contract is at the top of room.js. */

const DIGIT = /^[1-9]$/;

export class Control {
  constructor(section, question, { order, element, signal }) {
    Object.assign(this, { section, question, order, element, signal, name: question.name });
    this.rows = [...section.querySelectorAll("[data-row]")];
  }

  /** Bring what is drawn beside the inputs up to date. */
  describe() {}

  /** A digit picks that option of the row. Answers whether the key meant something. */
  press(row, key) {
    const input = this.inputFor(row, key);
    if (!input) return false;
    input.checked = input.type === "checkbox" ? !input.checked : true;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    return true;
  }

  inputFor(row, key) {
    if (!DIGIT.test(key)) return null;
    return row.querySelectorAll('input[type="radio"], input[type="checkbox"]')[Number(key) - 1] ?? null;
  }

  /** Say that the answer changed by something other than an input element. */
  changed() {
    this.section.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** Where in the form the error at `path` below this question belongs; "" is the question as a whole. */
  pathOf(row) {
    return row.dataset.path ?? "";
  }

  /** Show the server's errors, by their path below this question; answers the first row that has one. */
  showErrors(errors) {
    for (const [i, row] of this.rows.entries()) {
      const words = errors[this.pathOf(row)] ?? (i === 0 ? errors[""] : undefined) ?? "";
      row.classList.toggle("has-error", words !== "");
      row.querySelector("[data-error]").textContent = words;
    }
    return this.rows.find((row) => row.classList.contains("has-error")) ?? null;
  }
}
