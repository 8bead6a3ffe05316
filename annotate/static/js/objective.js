/* The form that starts a run shows what the chosen objective says and reads, and hides what others do. */

const chosen = document.querySelector("select[name=objective]");

function show() {
  for (const part of document.querySelectorAll("[data-read-by]")) {
    part.hidden = !part.dataset.readBy.split(" ").includes(chosen.value);
  }
}

if (chosen) {
  chosen.addEventListener("change", show);
  window.addEventListener("pageshow", show); // a browser that goes back keeps the choice
  show();
}
