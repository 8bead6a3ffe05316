/* The next instance, fetched while this one is answered: lent for a short while, given back when the page is left. */

import { csrfToken } from "./transport.js";

const FRESH = 0.8; // of the time it is lent for, so that showing it renews the lease before the end

export class Prepared {
  /** `load(url)` fetches a page of the room; answers {room, page, …} or null. */
  constructor(load) {
    this.load = load;
    this.next = null;
    window.addEventListener("pagehide", () => this.abandon());
  }

  /** Have the instance after the one of `page` ready. Asks once, and again when what it got is too old. */
  begin(page) {
    if (!page.urls.prepared || this.isFor(page)) return;
    const begun = performance.now();
    this.next = { after: page.assignment, until: begun + page.prepared_seconds * 1000 * FRESH, found: this.load(page.urls.prepared) };
  }

  isFor(page) {
    return this.next?.after === page.assignment && performance.now() < this.next.until;
  }

  /** What was prepared to follow `page`, or null. */
  async take(page) {
    if (!this.isFor(page)) return null;
    const { found } = this.next;
    this.next = null;
    return found;
  }

  /* The tab closes: others may have it at once, rather than after the lease. */
  async abandon() {
    const url = (await this.next?.found)?.page?.urls["hand-back"];
    this.next = null;
    if (url) navigator.sendBeacon(url, new URLSearchParams({ csrfmiddlewaretoken: csrfToken() }));
  }
}
