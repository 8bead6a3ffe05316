/* What the controls of all kinds of question have in common. The contract is at the top of room.js. */

const DIGIT = /^[1-9]$/;

export class Control {
  constructor(section, question, { order, element, signal }) {
    Object.assign(this, { section, question, order, element, signal, name: question.name });
    this.rows = [...section.querySelectorAll("[data-row]")];
  }

  /** The row to go to when the answer is not complete. */
  gap() {
    return this.rows[0];
  }

  /** Show the question, or hide it while its condition is not met. */
  present(asked) {
    this.section.hidden = !asked;
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

  /** Say that the answer changed in a row by something other than an input element. */
  changed(row = this.rows[0]) {
    row.dispatchEvent(new Event("change", { bubbles: true }));
  }

  /** The path below this question whose errors belong to a row; those of "", the question, go to the first row. */
  pathOf(row) {
    return row.dataset.path;
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

/** A second click on the chosen radio takes the choice back, where the row is optional. */
export function allowClearing(row, optional) {
  if (!optional) return;
  let chosenBefore = null;
  row.addEventListener("pointerdown", () => {
    chosenBefore = row.querySelector('input[type="radio"]:checked');
  });
  row.addEventListener("click", (event) => {
    if (event.target !== chosenBefore || event.detail === 0) return;
    event.target.checked = false;
    chosenBefore = null;
    event.target.dispatchEvent(new Event("change", { bubbles: true }));
  });
}
