/** All conversations that this page knows, and their one socket: reading, sending, stopping. */

import { call, path } from "./api.js";
import { Conversation, isAfter } from "./conversation.js";
import { Realtime, Refused } from "./realtime.js";
import * as store from "./store.js";

/**
 * @typedef {import("./realtime.js").Connection} Connection
 * @typedef {import("./realtime.js").Frame} Frame
 *
 * @typedef {object} Watcher
 * @property {(threadId: string) => void} onChange a conversation has something new to show
 * @property {(threadId: string) => void} onBusy in a thread something has begun, or has ended
 * @property {(threadId: string) => void} onBegun a run has begun: its thread is the newest now
 * @property {(threadId?: string) => void} onNotice something is to be read again by REST
 * @property {(threadId: string) => void} onGone there is no such thread
 * @property {(state: Connection) => void} onConnection
 * @property {() => void} onConnected notices may have been missed
 */

/** Conversations kept, and listened to, besides those in which something goes on. */
const MOST_IDLE = 8;
/** So many claims back the page reads events, to show runs in full; further back, messages do. */
const CLAIMS_BACK = 30;
const EVENTS_PAGE = 1000;
const MOST_PAGES = 5;

export class Conversations {
  /** The one used last stands last. @type {Map<string, Conversation>} */
  #known = new Map();
  /** Runs whose end was asked for. @type {Set<string>} */
  #stopping = new Set();
  /** The thread on the screen, which is never let go. */
  shown = "";

  /** @param {Watcher} watcher */
  constructor(watcher) {
    this.watcher = watcher;
    this.realtime = new Realtime({
      onState: watcher.onConnection,
      onFrame: (frame) => this.#received(frame),
      onWelcome: watcher.onConnected,
      cursorOf: (threadId) => this.#known.get(threadId)?.cursor ?? null,
    });
  }

  /** Whether anything is known, perhaps of whoever was signed in before. */
  get any() {
    return this.#known.size > 0;
  }

  /** @param {string} threadId */
  get(threadId) {
    return this.#known.get(threadId) ?? null;
  }

  /** What goes on in a thread, in a word or two; `null` if nobody has looked at it yet.
   * @param {string} threadId */
  standingOf(threadId) {
    return this.#known.get(threadId)?.standing ?? null;
  }

  /** Listen to a thread; those that nobody looks at are let go in time. @param {string} threadId */
  listen(threadId) {
    this.realtime.subscribe(threadId);
    const conversation = this.#used(threadId);
    const idle = [...this.#known.values()].filter(
      (one) => !one.busy && one.threadId !== this.shown && one !== conversation);
    for (const one of idle.slice(0, -MOST_IDLE)) this.leave(one.threadId);
    return conversation;
  }

  /** @param {string} threadId @returns {Conversation} */
  #used(threadId) {
    const conversation = this.#known.get(threadId) ?? new Conversation(threadId);
    this.#known.delete(threadId);
    this.#known.set(threadId, conversation);
    return conversation;
  }

  /** @param {string} threadId */
  leave(threadId) {
    this.#known.delete(threadId);
    this.realtime.unsubscribe(threadId);
  }

  /** Listen to threads in which something goes on, also those that are not on the screen. */
  async readRunning() {
    const page = await call("GET", "/api/runs?status=live&limit=20");
    for (const { threadId } of page.data) this.listen(threadId);
  }

  /** @param {string} threadId */
  #changed(threadId) {
    this.watcher.onChange(threadId);
    this.watcher.onBusy(threadId);
  }

  // -------------------------------------------------------------------- what comes
  /** @param {Frame} frame */
  #received(frame) {
    if (frame.op === "changed") {
      const conversation = this.#known.get(frame.threadId);
      if (conversation && frame.what === "queue") this.readWaiting(conversation);
      if (conversation && frame.what === "approvals") this.readDecided(conversation);
      this.watcher.onNotice(frame.threadId);
      return;
    }
    const conversation = this.#known.get(frame.threadId);
    if (!conversation) return;
    switch (frame.op) {
      case "event":
        if (conversation.add(/** @type {any} */ (frame))) this.#followed(conversation, frame.event);
        break;
      case "reset":
        conversation.reset(/** @type {any} */ (frame));
        this.#remember(conversation);
        this.readWaiting(conversation);
        break;
      case "refused":
        this.#refused(conversation, frame.code);
        break;
    }
    this.watcher.onChange(frame.threadId);
  }

  /** @param {Conversation} conversation @param {import("./conversation.js").AgUiEvent} event */
  #followed(conversation, event) {
    if (event.type === "RUN_STARTED") {
      this.watcher.onBegun(conversation.threadId);
    } else if (event.type === "RUN_FINISHED" || event.type === "RUN_ERROR") {
      this.watcher.onBusy(conversation.threadId);
    }
  }

  /** The gateway does not know the thread, or not the cursor.
   * @param {Conversation} conversation @param {string} code */
  #refused(conversation, code) {
    const { threadId } = conversation;
    if (code === "bad_cursor") {
      conversation.cursor = null;
      this.realtime.subscribe(threadId);
    } else if (!conversation.turns.length) {
      this.leave(threadId);
      this.watcher.onGone(threadId);
    }
  }

  // -------------------------------------------------------------------- what was
  /** Show runs that are over as they were seen: with errors, stops, and agents inside agents.
   * @param {Conversation} conversation */
  async #remember(conversation) {
    const upTo = conversation.cursor ?? "0-0";
    conversation.rememberedFrom = Number(upTo.split("-")[0]) + 1;
    await this.#rememberBefore(conversation, upTo);
  }

  /** Read the events of some claims before those that are remembered.
   * @param {Conversation} conversation @param {string} upTo a cursor */
  async #rememberBefore(conversation, upTo) {
    const { rememberedFrom, past, resets } = conversation;
    if (rememberedFrom <= 1 || !past.length) return;
    const first = Math.max(1, rememberedFrom - CLAIMS_BACK);
    conversation.rememberedFrom = first;
    // Every claim has a first event, so that its position can serve as a cursor.
    const after = first > 1 ? `${first - 1}-1` : "0-0";
    const placed = await this.#events(conversation.threadId, after, upTo).catch(() => []);
    if (conversation.resets !== resets) return;
    conversation.remember(placed);
    this.watcher.onChange(conversation.threadId);
    await this.readDecided(conversation);
  }

  /** Read what was decided of what the thread asks. @param {Conversation} conversation */
  async readDecided(conversation) {
    const { asking } = conversation;
    if (!asking?.runId) return;
    const found = await call("GET", path`/api/runs/${asking.runId}/approvals`).catch(() => null);
    if (!found) return;
    asking.decided(found.data);
    this.#changed(conversation.threadId);
  }

  /** @param {string} threadId @param {string} after @param {string} upTo both cursors
   * @returns {Promise<import("./conversation.js").PlacedEvent[]>} */
  async #events(threadId, after, upTo) {
    const found = [];
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const query = new URLSearchParams({ after, limit: String(EVENTS_PAGE) });
      const { data, next } = await call("GET", `${path`/api/threads/${threadId}/events`}?${query}`);
      found.push(...data);
      if (!next || isAfter(next, upTo)) break;
      after = next;
    }
    return found.filter(({ id }) => !isAfter(id, upTo));
  }

  /** Read which runs wait. @param {Conversation} conversation */
  async readWaiting(conversation) {
    const query = new URLSearchParams({ threadId: conversation.threadId, status: "live" });
    const page = await call("GET", `/api/runs?${query}`).catch(() => null);
    if (!page) return;
    conversation.waiting(page.data);
    this.#changed(conversation.threadId);
  }

  /** Read older messages of a thread. @param {Conversation} conversation */
  async earlier(conversation) {
    const oldest = conversation.past[0]?.id;
    if (!oldest) return;
    const query = new URLSearchParams({ before: oldest });
    const page = await call("GET",
      `${path`/api/threads/${conversation.threadId}/messages`}?${query}`);
    conversation.earlier(page.data, page.next !== null);
    await this.#rememberBefore(conversation, `${conversation.rememberedFrom}-0`);
  }

  // -------------------------------------------------------------------- what goes out
  /** Send again what was not acknowledged before a reload. */
  repeat() {
    for (const letter of store.outbox()) this.post(letter);
  }

  /** Hand a message to the gateway; the socket repeats it until there is an answer.
   * @param {import("./store.js").Letter} letter */
  async post(letter) {
    const { threadId, runId, agent, message } = letter;
    const conversation = this.#used(threadId);
    if (!conversation.say(runId, message, agent)) return;
    store.keep(letter);
    this.#changed(threadId);
    try {
      const input = { threadId, runId, messages: [message], tools: [], context: [] };
      const ack = await this.realtime.run({ agent, input });
      conversation.accepted(runId, ack.queued);
      if (ack.queued) this.readWaiting(conversation);
    } catch (error) {
      if (!(error instanceof Refused)) return; // the page ends, and the letter stays
      conversation.refused(runId, { code: error.code, message: error.message });
    }
    store.delivered(runId);
    this.#changed(threadId);
  }

  /** Decide what a run asks; with the last decision it goes on, which comes as events.
   * @param {string} threadId @param {import("./conversation.js").Turn} turn
   * @param {{id: string, approved: boolean, message?: string}} decision */
  async decide(threadId, turn, decision) {
    try {
      const body = { decisions: [decision] };
      const after = await call("POST", path`/api/runs/${turn.runId ?? ""}/approvals`, body);
      turn.decided(after.data);
    } finally {
      this.watcher.onChange(threadId);
    }
  }

  /** Whether somebody asked for a run's end. @param {string | null} runId */
  isStopping(runId) {
    return runId !== null && this.#stopping.has(runId);
  }

  /** Ask for a run's end; that it has ended comes as an event.
   * @param {string} threadId @param {string} runId */
  async stop(threadId, runId) {
    if (this.#stopping.has(runId)) return;
    this.#stopping.add(runId);
    this.watcher.onChange(threadId);
    try {
      await this.realtime.cancel(threadId, runId);
    } catch (error) {
      this.#stopping.delete(runId);
      this.watcher.onChange(threadId);
      throw error;
    }
  }
}
