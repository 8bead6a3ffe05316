/* Dragging questions by their grip, with mouse, pen or finger. Keyboards have the up and down buttons. */

/** Call `move(from, to)` once a question of `list` is dropped at another place. */
export function wireDragging(list, move) {
  list.addEventListener("pointerdown", (event) => {
    const grip = event.target.closest("[data-grip]");
    if (grip && event.isPrimary && event.button === 0) drag(list, grip, event, move);
  });
}

function drag(list, grip, start, move) {
  const items = [...list.querySelectorAll(".builder-question")];
  const moved = grip.closest(".builder-question");
  const from = items.indexOf(moved);
  let to = from;
  const done = new AbortController();
  const { signal } = done;
  start.preventDefault();
  grip.setPointerCapture(start.pointerId);
  moved.classList.add("is-dragged");

  const finish = () => {
    done.abort();
    moved.classList.remove("is-dragged");
    mark(items, -1, from);
  };
  grip.addEventListener("pointermove", (event) => {
    to = placeAt(items, event.clientY);
    mark(items, to, from);
  }, { signal });
  grip.addEventListener("pointerup", () => {
    finish();
    if (to !== from) move(from, to);
  }, { signal });
  grip.addEventListener("pointercancel", finish, { signal });
  document.addEventListener("keydown", (event) => event.key === "Escape" && finish(), { signal });
}

/** The place under height `y`: the question whose box holds it, the first above all, the last below all. */
function placeAt(items, y) {
  const at = items.findIndex((item) => y < item.getBoundingClientRect().bottom);
  return at === -1 ? items.length - 1 : at;
}

function mark(items, to, from) {
  for (const [place, item] of items.entries()) {
    item.classList.toggle("drop-before", place === to && to < from);
    item.classList.toggle("drop-after", place === to && to > from);
  }
}
