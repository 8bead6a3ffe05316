/* The preview's frame in the width of a desk or a phone. */

const stage = document.querySelector("[data-stage]");
const buttons = [...document.querySelectorAll("[data-width]")];

for (const button of buttons) {
  button.addEventListener("click", () => {
    stage.dataset.stage = button.dataset.width;
    for (const one of buttons) one.setAttribute("aria-pressed", String(one === button));
  });
}
