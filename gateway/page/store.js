/**
 * What outlives a reload: drafts, what threads are called, and messages on their way.
 *
 * All of it may be missing or refused (private windows, full disks); the page works without it.
 */

const DRAFT = "baton.draft.";
const WORDS = "baton.words";
const OUTBOX = "baton.outbox";
const OWNER = "baton.user";

/** @param {() => any} work @param {any} otherwise */
function tried(work, otherwise) {
  try {
    return work() ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @type {Map<string, string>} */
const words = new Map(Object.entries(
  tried(() => JSON.parse(localStorage.getItem(WORDS) ?? "{}"), {}),
));

/** The first words of a thread; empty where there are none, undefined where nobody has looked.
 * @param {string} threadId */
export function firstWords(threadId) {
  return words.get(threadId);
}

/** @param {string} threadId @param {string} text */
export function setFirstWords(threadId, text) {
  words.set(threadId, text);
  const kept = [...words].filter(([, one]) => one).slice(-500);
  tried(() => localStorage.setItem(WORDS, JSON.stringify(Object.fromEntries(kept))), null);
}

/** @param {string} threadId empty for a new chat */
export function draft(threadId) {
  return tried(() => localStorage.getItem(DRAFT + threadId), "");
}

/** @param {string} threadId @param {string} text */
export function setDraft(threadId, text) {
  tried(() => text ? localStorage.setItem(DRAFT + threadId, text)
    : localStorage.removeItem(DRAFT + threadId), null);
}

/** @param {string} threadId */
export function forgetThread(threadId) {
  words.delete(threadId);
  setDraft(threadId, "");
}

/**
 * Messages of this tab that the gateway has not acknowledged; sent again after a reload, since
 * their run ids make that harmless.
 *
 * @typedef {{threadId: string, runId: string, agent?: string,
 *   message: import("./conversation.js").Message}} Letter
 * @returns {Letter[]}
 */
export function outbox() {
  return tried(() => JSON.parse(sessionStorage.getItem(OUTBOX) ?? "[]"), []);
}

/** @param {Letter} letter */
export function keep(letter) {
  const letters = [...outbox().filter((one) => one.runId !== letter.runId), letter];
  tried(() => sessionStorage.setItem(OUTBOX, JSON.stringify(letters)), null);
}

/** @param {string} runId */
export function delivered(runId) {
  const letters = outbox().filter((one) => one.runId !== runId);
  tried(() => sessionStorage.setItem(OUTBOX, JSON.stringify(letters)), null);
}

/** Whose things these are; somebody else's are thrown away. @param {string} userId
 * @returns {boolean} whether there was somebody else */
export function belongTo(userId) {
  const before = tried(() => localStorage.getItem(OWNER), userId);
  if (before !== userId) clear();
  tried(() => localStorage.setItem(OWNER, userId), null);
  return before !== userId;
}

/** Throw all of it away: somebody signs out. */
export function clear() {
  words.clear();
  tried(() => {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith("baton.")) localStorage.removeItem(key);
    }
    sessionStorage.removeItem(OUTBOX);
  }, null);
}
