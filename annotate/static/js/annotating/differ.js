/* The worker that compares texts while the page goes on answering: {id, before, after} in, {id, ...differences} out. */

import { diffWords } from "./worddiff.js";

self.addEventListener("message", ({ data: { id, before, after } }) => {
  self.postMessage({ id, ...diffWords(before, after) });
});
