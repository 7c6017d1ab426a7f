/**
 * What outlives a reload: drafts, and messages on their way.
 *
 * All of it may be missing or refused (private windows, full disks); the page works without it.
 */

const DRAFT = "baton.draft.";
const OUTBOX = "baton.outbox";
const OWNER = "baton.user";

/** Whether somebody is signed in whose things these are; otherwise nothing is kept. */
let open = false;

/** @param {() => any} work */
function write(work) {
  if (open) tried(work, null);
}

/** @param {() => any} work @param {any} otherwise */
function tried(work, otherwise) {
  try {
    return work() ?? otherwise;
  } catch {
    return otherwise;
  }
}

/** @param {string} threadId empty for a new chat */
export function draft(threadId) {
  return tried(() => localStorage.getItem(DRAFT + threadId), "");
}

/** @param {string} threadId @param {string} text */
export function setDraft(threadId, text) {
  write(() => text ? localStorage.setItem(DRAFT + threadId, text)
    : localStorage.removeItem(DRAFT + threadId));
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
  write(() => sessionStorage.setItem(OUTBOX, JSON.stringify(letters)));
}

/** @param {string} runId */
export function delivered(runId) {
  const letters = outbox().filter((one) => one.runId !== runId);
  write(() => sessionStorage.setItem(OUTBOX, JSON.stringify(letters)));
}

/** Whose things these are; somebody else's are thrown away. @param {string} userId
 * @returns {boolean} whether there was somebody else */
export function belongTo(userId) {
  const before = tried(() => localStorage.getItem(OWNER), userId);
  if (before !== userId) clear();
  open = true;
  write(() => localStorage.setItem(OWNER, userId));
  return before !== userId;
}

/** Throw all of it away: somebody signs out. */
export function clear() {
  open = false;
  tried(() => {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith("baton.")) localStorage.removeItem(key);
    }
    sessionStorage.removeItem(OUTBOX);
  }, null);
}
