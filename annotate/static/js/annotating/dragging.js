/* Dragging cards with mouse, pen or finger. What a drop means is the caller's. */

const THRESHOLD = 4; // pixels before a press becomes a drag
const EDGE = 48; // this near to the edge of what scrolls, it scrolls
const STEP = 14;

/**
 * Let the `[data-card]` of `area` be dragged: a mouse takes them anywhere, a finger by their `[data-grip]`, so that the
 * page still scrolls. `over(card, y)` answers the target there and shows it, `drop(card, target)` ends well, and
 * `over(card, null)` takes what was shown away again.
 */
export function wireDragging(area, { over, drop }, signal) {
  let drag = null;

  const end = (done) => {
    if (!drag) return;
    const { card, target, moved } = drag;
    drag = null;
    card.classList.remove("is-dragging");
    card.style.removeProperty("translate");
    over(card, null);
    if (done && moved && target) drop(card, target);
  };

  const move = (event) => {
    if (!drag || event.pointerId !== drag.pointer) return;
    const by = { x: event.clientX - drag.x, y: event.clientY - drag.y };
    if (!drag.moved && Math.hypot(by.x, by.y) < THRESHOLD) return;
    if (!drag.moved) begin(drag);
    const scrolled = scrollNear(drag.scroller, event.clientY);
    drag.y -= scrolled;
    drag.card.style.translate = `${by.x}px ${by.y + scrolled}px`;
    drag.target = over(drag.card, event.clientY);
  };

  area.addEventListener("pointerdown", (event) => {
    const card = event.target.closest("[data-card]");
    if (!card || event.button !== 0 || event.target.closest("button")) return;
    if (event.pointerType === "touch" && !event.target.closest("[data-grip]")) return;
    drag = { card, pointer: event.pointerId, x: event.clientX, y: event.clientY, moved: false, scroller: scrollerOf(area) };
    area.setPointerCapture(event.pointerId);
  }, { signal });
  area.addEventListener("pointermove", move, { signal });
  area.addEventListener("pointerup", () => end(true), { signal });
  area.addEventListener("pointercancel", () => end(false), { signal });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !drag?.moved) return;
    event.preventDefault();
    end(false);
  }, { signal, capture: true });
}

function begin(drag) {
  drag.moved = true;
  drag.card.classList.add("is-dragging");
}

function scrollerOf(area) {
  const form = area.closest("form");
  return form.scrollHeight > form.clientHeight + 1 ? form : document.scrollingElement;
}

/* Answers by how much it scrolled, for the card to stay under the pointer. */
function scrollNear(scroller, y) {
  const whole = scroller === document.scrollingElement;
  const { top, bottom } = whole ? { top: 0, bottom: window.innerHeight } : scroller.getBoundingClientRect();
  const before = scroller.scrollTop;
  if (y < top + EDGE) scroller.scrollTop -= STEP;
  if (y > bottom - EDGE) scroller.scrollTop += STEP;
  return scroller.scrollTop - before;
}
