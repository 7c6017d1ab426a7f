/** The list of threads: the last changed first, more on scrolling, renaming and deleting. */

import { ApiError, call, path } from "./api.js";
import { ASKS } from "./conversation.js";
import { arrange, byId, el, setText } from "./dom.js";
import * as store from "./store.js";

/**
 * @typedef {{id: string, agent: string, title: string | null, asks: boolean, createdAt: string,
 *   updatedAt: string}} Thread
 */

const PAGE = 40;
/** The gateway gives no more on one page. */
const MOST_AT_ONCE = 100;
/** The gateway calls a thread by its first words; so does the page until it has heard. */
const TITLE_CHARS = 80;

export class ThreadList {
  /** @type {Map<string, Thread>} */
  threads = new Map();
  /** Cursor of the next page. @type {string | null} */
  #next = null;
  /** @type {Promise<void>} */
  #reading = Promise.resolve();
  /** @type {Map<string, any>} */
  #rows = new Map();
  current = "";

  /**
   * @param {{onEdit: (thread: Thread) => void, onChange: () => void,
   *   standingOf: (threadId: string) => string | null}} owner
   */
  constructor(owner) {
    this.owner = owner;
    this.list = byId("thread-list");
    this.end = byId("thread-end");
    new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting && this.#next) this.#more().catch(() => {});
    }, { root: byId("thread-scroller"), rootMargin: "200px" }).observe(this.end);
  }

  /** Read the list anew, as far as it was read. */
  async refresh() {
    await this.#oneByOne(async () => {
      const wanted = Math.max(PAGE, this.threads.size);
      /** @type {Map<string, Thread>} */
      const found = new Map();
      let next = null;
      do {
        const page = await read(next, Math.min(MOST_AT_ONCE, wanted - found.size));
        for (const thread of page.data) found.set(thread.id, thread);
        next = page.next;
      } while (next && found.size < wanted);
      this.threads = found;
      this.#next = next;
    });
  }

  /** Read the next page, if there is one. */
  async #more() {
    await this.#oneByOne(async () => {
      if (!this.#next) return;
      const page = await read(this.#next, PAGE);
      for (const thread of page.data) this.threads.set(thread.id, thread);
      this.#next = page.next;
    });
  }

  /** @param {() => Promise<void>} reading */
  async #oneByOne(reading) {
    this.#reading = this.#reading.catch(() => {}).then(reading);
    await this.#reading;
    this.draw();
    this.owner.onChange();
  }

  /** Read one thread again, which may be gone. @param {string} id */
  async reread(id) {
    try {
      this.threads.set(id, await call("GET", path`/api/threads/${id}`));
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 404) throw error;
      this.threads.delete(id);
    }
    this.draw();
    this.owner.onChange();
  }

  /** A thread begins here, with these words. @param {string} id @param {string} agent
   * @param {string} text */
  begin(id, agent, text) {
    const createdAt = new Date().toISOString();
    const title = text.trim().split(/\s+/).join(" ").slice(0, TITLE_CHARS);
    this.threads.set(id, { id, agent, title, asks: false, createdAt, updatedAt: createdAt });
    this.draw();
  }

  /** Something was written in a thread just now. @param {string} id
   * @returns {boolean} whether the thread is listed */
  touch(id) {
    const thread = this.threads.get(id);
    if (!thread) return false;
    thread.updatedAt = new Date().toISOString();
    thread.asks = false;
    this.draw();
    return true;
  }

  /** @param {string} id @param {string | null} title */
  async rename(id, title) {
    this.threads.set(id, await call("PATCH", path`/api/threads/${id}`, { title }));
    this.draw();
    this.owner.onChange();
  }

  /** @param {string} id */
  async remove(id) {
    await call("DELETE", path`/api/threads/${id}`);
    this.threads.delete(id);
    store.setDraft(id, "");
    this.draw();
  }

  /** What a thread is called. @param {string} id */
  titleOf(id) {
    return this.threads.get(id)?.title || "New chat";
  }

  /** Show the list as it is known. */
  draw() {
    const sorted = [...this.threads.values()].sort((one, other) =>
      other.updatedAt.localeCompare(one.updatedAt));
    arrange(this.list, sorted.map((thread) => this.#row(thread)));
    byId("no-threads").hidden = sorted.length > 0;
  }

  /** @param {Thread} thread */
  #row(thread) {
    let row = this.#rows.get(thread.id);
    if (!row) {
      const name = el("span", { class: "thread-name" });
      const busy = el("span", { class: "busy" });
      const link = el("a", { href: `#/${thread.id}` }, name, busy);
      const more = el("button", { type: "button", class: "quiet more", click: () =>
        this.owner.onEdit(this.threads.get(thread.id) ?? thread) }, "⋯");
      row = { name, busy, link, more, element: el("li", {}, link, more) };
      this.#rows.set(thread.id, row);
    }
    const title = this.titleOf(thread.id);
    setText(row.name, title);
    const standing = this.owner.standingOf(thread.id) ?? (thread.asks ? ASKS : "");
    row.busy.hidden = !standing;
    setText(row.busy, standing);
    row.more.setAttribute("aria-label", `Rename or delete “${title}”`);
    if (thread.id === this.current) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
    return row.element;
  }
}

/** A page of the list. @param {string | null} cursor @param {number} limit */
async function read(cursor, limit) {
  const query = new URLSearchParams({ limit: String(limit), ...(cursor ? { cursor } : {}) });
  return await call("GET", `/api/threads?${query}`);
}
