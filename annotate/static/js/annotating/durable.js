/* Copies of drafts on the disk of this browser. What localStorage takes is written there seconds later, so a browser
   that is killed loses it; a transaction of strict durability is on the disk when it is done. */

const DATABASE = "tiebreak";
const STORE = "drafts";

let opened = null;
let writing = false;
const waiting = new Map();

/** The copy under `key`, or null: there is none, or this browser keeps nothing. */
export async function read(key) {
  try {
    const store = (await database()).transaction(STORE).objectStore(STORE);
    return (await settled(store.get(key))) ?? null;
  } catch {
    return null;
  }
}

/** Keep `copy` under `key`; null takes it away. Of copies that come while one is being written the last counts. */
export function write(key, copy) {
  waiting.set(key, copy);
  if (!writing) drain();
}

async function drain() {
  writing = true;
  try {
    while (waiting.size) {
      const batch = [...waiting];
      waiting.clear();
      await commit(batch);
    }
  } catch {
    waiting.clear(); // storage is full or blocked: localStorage has the only copy
  }
  writing = false;
}

async function commit(batch) {
  const transaction = (await database()).transaction(STORE, "readwrite", { durability: "strict" });
  const store = transaction.objectStore(STORE);
  for (const [key, copy] of batch) copy === null ? store.delete(key) : store.put(copy, key);
  await new Promise((resolve, reject) => {
    transaction.oncomplete = resolve;
    transaction.onerror = transaction.onabort = () => reject(transaction.error);
  });
}

function database() {
  opened ??= open();
  return opened;
}

function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => request.result.createObjectStore(STORE);
  return settled(request);
}

function settled(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
