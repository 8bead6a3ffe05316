/* Texts compared by a worker (differ.js): two of 100 kB would hold the page up. One worker serves every room. */

let worker = null;
let last = 0;
const waiting = new Map();

/** What `diffWords` answers. Rejects when the worker's script does not load or fails. */
export function compareWords(before, after) {
  worker ??= started();
  const id = ++last;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, before, after });
  });
}

function started() {
  const made = new Worker(document.getElementById("room").dataset.differ, { type: "module" });
  made.addEventListener("message", ({ data: { id, ...found } }) => {
    waiting.get(id).resolve(found);
    waiting.delete(id);
  });
  made.addEventListener("error", (event) => {
    event.preventDefault();
    made.terminate();
    worker = null; // the next comparison tries again
    for (const { reject } of waiting.values()) reject(new Error(event.message || "differ.js did not load"));
    waiting.clear();
  });
  return made;
}
