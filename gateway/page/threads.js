/** The list of threads: the last changed first, more on scrolling, renaming and deleting. */

import { ApiError, call, path } from "./api.js";
import { textOf } from "./conversation.js";
import { arrange, byId, el, setText } from "./dom.js";
import * as store from "./store.js";

/**
 * @typedef {{id: string, agent: string, title: string | null, createdAt: string,
 *   updatedAt: string}} Thread
 */

const PAGE = 40;
/** First words that are asked for at once. */
const AT_ONCE = 4;
const MOST_WORDS_CHARS = 60;

export class ThreadList {
  /** @type {Map<string, Thread>} */
  threads = new Map();
  /** Cursor of the next page. @type {string | null} */
  #next = null;
  #loading = false;
  /** @type {Map<string, any>} */
  #rows = new Map();
  /** Threads whose first words are being asked for. @type {Set<string>} */
  #asking = new Set();
  current = "";

  /**
   * @param {{onEdit: (thread: Thread) => void, onChange: () => void,
   *   isBusy: (threadId: string) => boolean}} owner
   */
  constructor(owner) {
    this.owner = owner;
    this.list = byId("thread-list");
    this.end = byId("thread-end");
    new IntersectionObserver(([entry]) => {
      if (entry.isIntersecting && this.#next) this.#read(this.#next);
    }, { root: byId("thread-scroller"), rootMargin: "200px" }).observe(this.end);
  }

  /** Read the list anew. */
  async refresh() {
    await this.#read(null);
  }

  /** Forget everything. */
  clear() {
    this.threads.clear();
    this.#next = null;
    this.draw();
  }

  /** @param {string | null} cursor */
  async #read(cursor) {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const query = new URLSearchParams({ limit: String(PAGE), ...(cursor ? { cursor } : {}) });
      const page = await call("GET", `/api/threads?${query}`);
      if (!cursor) this.threads.clear();
      for (const thread of page.data) this.threads.set(thread.id, thread);
      this.#next = page.next;
    } finally {
      this.#loading = false;
    }
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

  /** A thread was just written to here. @param {string} id @param {string} agent */
  touch(id, agent) {
    const now = new Date().toISOString();
    const known = this.threads.get(id) ?? { id, agent, title: null, createdAt: now };
    this.threads.set(id, { ...known, updatedAt: now });
    this.draw();
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
    store.forgetThread(id);
    this.draw();
  }

  /** What a thread is called: its title, else its first words. @param {string} id */
  titleOf(id) {
    return this.threads.get(id)?.title || store.firstWords(id) || "New chat";
  }

  /** Remember how a thread begins. @param {string} id @param {string} text */
  begins(id, text) {
    if (store.firstWords(id)) return;
    const line = text.trim().split(/\s+/).join(" ");
    store.setFirstWords(id, line.length > MOST_WORDS_CHARS
      ? `${line.slice(0, MOST_WORDS_CHARS).replace(/\s\S*$/, "")}…` : line);
    this.draw();
  }

  /** Show the list as it is known. */
  draw() {
    const sorted = [...this.threads.values()].sort((one, other) =>
      other.updatedAt.localeCompare(one.updatedAt));
    arrange(this.list, sorted.map((thread) => this.#row(thread)));
    byId("no-threads").hidden = sorted.length > 0;
    this.#askForWords(sorted);
  }

  /** @param {Thread} thread */
  #row(thread) {
    let row = this.#rows.get(thread.id);
    if (!row) {
      const name = el("span", { class: "thread-name" });
      const busy = el("span", { class: "busy" }, "running");
      const link = el("a", { href: `#/${thread.id}` }, name, busy);
      const more = el("button", { type: "button", class: "quiet more", click: () =>
        this.owner.onEdit(this.threads.get(thread.id) ?? thread) }, "⋯");
      row = { name, busy, link, more, element: el("li", {}, link, more) };
      this.#rows.set(thread.id, row);
    }
    const title = this.titleOf(thread.id);
    setText(row.name, title);
    row.busy.hidden = !this.owner.isBusy(thread.id);
    row.more.setAttribute("aria-label", `Rename or delete “${title}”`);
    if (thread.id === this.current) row.link.setAttribute("aria-current", "page");
    else row.link.removeAttribute("aria-current");
    return row.element;
  }

  /** Threads without a title are called by their first words. @param {Thread[]} threads */
  #askForWords(threads) {
    for (const { id, title } of threads) {
      if (this.#asking.size >= AT_ONCE) return;
      if (title || store.firstWords(id) !== undefined || this.#asking.has(id)) continue;
      this.#asking.add(id);
      this.#firstWords(id).finally(() => {
        this.#asking.delete(id);
        this.draw();
        this.owner.onChange();
      });
    }
  }

  /** @param {string} id */
  async #firstWords(id) {
    try {
      const page = await call("GET", path`/api/threads/${id}/events?limit=1`);
      const said = page.data[0]?.event.input?.messages?.[0];
      if (said) this.begins(id, textOf(said.content));
      else store.setFirstWords(id, "");
    } catch {
      store.setFirstWords(id, "");
    }
  }
}
