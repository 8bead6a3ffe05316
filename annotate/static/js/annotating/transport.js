/* Requests of the reading room: JSON in and out, with the three ways a request can fail told apart. */

const PATIENCE_MS = 15_000; // longer than any answer takes; a line that swallows requests must not hold up the next

/** The network or the server is away; the same request may be sent again. */
export class Away extends Error {}

/** The login expired: the server asked for a sign-in or refused. */
export class SignedOut extends Error {}

/**
 * Send `body` (an object, or a string to repeat exactly). Answers {status, data} for 2xx and for 4xx with JSON.
 * Throws Away for network failures, 429 and 5xx, SignedOut for 401, 403 and redirects to the sign-in page.
 */
export async function send(method, url, body, { keepalive = false } = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  let response;
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    response = await fetch(url, { method, headers: headers(), body: text, keepalive, redirect: "manual", signal });
  } catch {
    throw new Away("no connection");
  }
  if (response.type === "opaqueredirect" || response.status === 401 || response.status === 403) throw new SignedOut();
  if (response.status === 429 || response.status >= 500) throw new Away(`status ${response.status}`);
  return { status: response.status, data: await json(response) };
}

/** A UUID for a submission; browsers offer randomUUID on secure origins only. */
export function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

/** The wait before try number `attempt` (from 1): doubling from one second up to fifteen. */
export function backoff(attempt) {
  return Math.min(15_000, 1000 * 2 ** (attempt - 1));
}

/** The cookie's first: after a sign-in in another tab the page's own token is stale. */
export function csrfToken() {
  return cookie("csrftoken") || document.querySelector('meta[name="csrf-token"]')?.content;
}

function headers() {
  return { "Content-Type": "application/json", Accept: "application/json", "X-CSRFToken": csrfToken() };
}

function cookie(name) {
  const pair = document.cookie.split("; ").find((part) => part.startsWith(`${name}=`));
  return pair ? decodeURIComponent(pair.slice(name.length + 1)) : "";
}

async function json(response) {
  try {
    return await response.json();
  } catch {
    return {};
  }
}
