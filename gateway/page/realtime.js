/**
 * The one WebSocket of this page: `/realtime`, sub-protocol `baton.v1`.
 *
 * It comes back by itself, subscribes again from each thread's cursor, and repeats what nobody has
 * answered: a `run` has an id of its own choosing, so a repeat is harmless. What it is told, it
 * passes on; it knows nothing of conversations.
 *
 * @typedef {"connecting"|"connected"|"reconnecting"|"offline"|"signed-out"|"refused"} Connection
 * @typedef {{op: string, [field: string]: any}} Frame
 * @typedef {object} Listener
 * @property {(state: Connection) => void} onState
 * @property {(frame: Frame) => void} onFrame everything but answers: event, reset, live, changed
 * @property {(welcome: Frame) => void} onWelcome connected, and everything is subscribed again
 * @property {(threadId: string) => string | null} cursorOf where a thread's subscription goes on
 */

import { newId } from "./ids.js";

const PROTOCOL = "baton.v1";
const CLOSED = { goingAway: 1001, tooBig: 1009, restarting: 1012, tryAgain: 1013, notSignedIn: 4401,
  badOrigin: 4403, heartbeatMissed: 4408 };

const BACK_OFF_MS = { least: 300, most: 30_000 };
/** A connection that lasted so long was a good one: the next back-off begins anew. */
const STABLE_MS = 60_000;
/** A handshake, or the answer to a ping, that takes longer will not come. */
const PATIENCE_MS = 10_000;
/** After a wake-up or a change of network one wants to know sooner. */
const PROBE_MS = 3_000;

/** What the gateway said no to. */
export class Refused extends Error {
  /** @param {{code: string, message: string, retryable?: boolean}} frame */
  constructor({ code, message, retryable }) {
    super(message);
    this.code = code;
    this.retryable = Boolean(retryable);
  }
}

export class Realtime {
  /** @type {WebSocket | null} */
  #socket = null;
  /** @type {Connection} */
  state = "connecting";
  #tries = 0;
  #openedAt = 0;
  #heartbeatMs = 20_000;
  #maxFrameBytes = 1_048_576;
  #welcomed = false;
  #wanted = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #heartbeatTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #patienceTimer;
  /** Threads that this page listens to. @type {Set<string>} */
  #threads = new Set();
  /** Frames that nobody has answered, in order.
   * @type {Map<string, {frame: Frame, resolve: (ack: Frame) => void,
   *   reject: (error: Error) => void}>} */
  #unanswered = new Map();

  /** @param {Listener} listener */
  constructor(listener) {
    this.listener = listener;
    addEventListener("online", () => this.#hurry());
    addEventListener("offline", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") this.#hurry();
    });
  }

  /** Connect, and stay connected until `stop`. */
  start() {
    this.#wanted = true;
    this.#tries = 0;
    this.#connect();
  }

  /** Nobody is signed in any more; after `start` everything goes on. */
  pause() {
    this.#closed(CLOSED.notSignedIn);
  }

  /** Close for good; what was not answered is forgotten. */
  stop() {
    this.#wanted = false;
    this.#threads.clear();
    for (const { reject } of this.#unanswered.values()) reject(new Error("stopped"));
    this.#unanswered.clear();
    this.#drop();
  }

  /** Listen to a thread from its cursor on. @param {string} threadId */
  subscribe(threadId) {
    if (this.#threads.has(threadId)) return;
    this.#threads.add(threadId);
    if (this.#welcomed) this.#subscribe(threadId);
  }

  /** Stop listening. @param {string} threadId */
  unsubscribe(threadId) {
    if (!this.#threads.delete(threadId) || !this.#welcomed) return;
    this.#send({ op: "unsubscribe", id: newId("f"), threadId });
  }

  /**
   * Start a run; the socket hears the thread from then on.
   *
   * @param {{agent?: string, input: Record<string, any>}} run
   * @returns {Promise<Frame>} the `ack`; rejects with `Refused`
   */
  run({ agent, input }) {
    this.#threads.add(input.threadId);
    return this.#ask({ op: "run", id: newId("f"), ...(agent ? { agent } : {}), input });
  }

  /** Ask for a run's end. @param {string} threadId @param {string} runId */
  cancel(threadId, runId) {
    return this.#ask({ op: "cancel", id: newId("f"), threadId, runId });
  }

  /** @param {Frame} frame @returns {Promise<Frame>} */
  #ask(frame) {
    return new Promise((resolve, reject) => {
      if (new Blob([JSON.stringify(frame)]).size > this.#maxFrameBytes) {
        reject(new Refused({ code: "too_large", message: "The message is too long." }));
        return;
      }
      this.#unanswered.set(frame.id, { frame, resolve, reject });
      if (this.#welcomed) this.#send(frame);
      else if (this.#socket === null) this.#hurry(); // who asks does not want to wait
    });
  }

  // ------------------------------------------------------------------ the socket
  #connect() {
    this.#drop();
    if (!this.#wanted) return;
    this.#show();
    const url = new URL("/realtime", location.href);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url, PROTOCOL);
    this.#socket = socket;
    this.#expect(PATIENCE_MS);
    socket.onmessage = ({ data }) => {
      if (socket === this.#socket) this.#received(JSON.parse(data));
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#closed(code);
    };
  }

  /** Let go of the present socket, whatever its state. */
  #drop() {
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#patienceTimer);
    clearInterval(this.#heartbeatTimer);
    this.#welcomed = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
  }

  /** Something has to arrive in time, or the connection counts as dead. @param {number} ms */
  #expect(ms) {
    clearTimeout(this.#patienceTimer);
    this.#patienceTimer = setTimeout(() => this.#closed(1006), ms);
  }

  /** @param {number} code */
  #closed(code) {
    const lasted = this.#welcomed ? performance.now() - this.#openedAt : 0;
    this.#drop();
    if (code === CLOSED.notSignedIn || code === CLOSED.badOrigin) {
      this.#wanted = false;
      this.#setState(code === CLOSED.notSignedIn ? "signed-out" : "refused");
      return;
    }
    if (code === CLOSED.tooBig) this.#giveUpOnLargest();
    this.#setState(navigator.onLine ? "reconnecting" : "offline");
    // A hidden page may not run often enough for heartbeats: it comes back when it is looked at.
    if (code === CLOSED.heartbeatMissed && document.visibilityState === "hidden") return;
    if (lasted > STABLE_MS) this.#tries = 0;
    const atOnce = code === CLOSED.restarting || code === CLOSED.goingAway;
    const most = Math.min(BACK_OFF_MS.most, BACK_OFF_MS.least * 2 ** this.#tries);
    this.#tries += 1;
    // Jitter keeps a thousand pages from coming back in the same moment.
    const pause = atOnce && lasted ? Math.random() * 100 : most * (0.5 + Math.random() / 2);
    this.#retryTimer = setTimeout(() => this.#connect(), pause);
  }

  /** Something has changed for the better or the worse: look at once. */
  #hurry() {
    if (!this.#wanted) return;
    if (this.#welcomed) {
      this.#send({ op: "ping", id: newId("f") });
      this.#expect(PROBE_MS);
      return;
    }
    this.#tries = 0;
    this.#connect();
  }

  #show() {
    if (this.state === "connected" || this.#tries > 0) {
      this.#setState(navigator.onLine ? "reconnecting" : "offline");
    } else if (this.state !== "reconnecting" && this.state !== "offline") {
      this.#setState("connecting");
    }
  }

  /** @param {Connection} state */
  #setState(state) {
    if (state === this.state) return;
    this.state = state;
    this.listener.onState(state);
  }

  // ------------------------------------------------------------------ frames
  /** @param {Frame} frame */
  #send(frame) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(frame));
  }

  /** @param {string} threadId */
  #subscribe(threadId) {
    const after = this.listener.cursorOf(threadId);
    const id = newId("f");
    const frame = { op: "subscribe", id, threadId, ...(after ? { after } : {}) };
    this.#unanswered.set(id, {
      frame,
      resolve: () => {},
      reject: (error) => this.#notSubscribed(threadId, /** @type {Refused} */ (error)),
    });
    this.#send(frame);
  }

  /** @param {string} threadId @param {Refused} error */
  #notSubscribed(threadId, error) {
    if (error.retryable) {
      this.#closed(CLOSED.tryAgain);
    } else {
      this.#threads.delete(threadId);
      this.listener.onFrame({ op: "refused", threadId, code: error.code });
    }
  }

  /** @param {Frame} frame */
  #received(frame) {
    clearTimeout(this.#patienceTimer);
    switch (frame.op) {
      case "welcome":
        this.#welcome(frame);
        break;
      case "ack":
      case "error":
        this.#answered(frame);
        break;
      case "pong":
        break;
      default:
        if (!frame.threadId || frame.op === "changed" || this.#threads.has(frame.threadId)) {
          this.listener.onFrame(frame);
        }
    }
  }

  /** @param {Frame} frame */
  #answered(frame) {
    const asked = this.#unanswered.get(frame.id);
    this.#unanswered.delete(frame.id);
    if (frame.op === "ack") asked?.resolve(frame);
    else if (asked) asked.reject(new Refused(/** @type {any} */ (frame)));
    else console.warn("the gateway complains", frame.code, frame.message);
  }

  /** @param {Frame} frame */
  #welcome(frame) {
    this.#welcomed = true;
    this.#openedAt = performance.now();
    this.#heartbeatMs = frame.heartbeatMs ?? this.#heartbeatMs;
    this.#maxFrameBytes = frame.maxFrameBytes ?? this.#maxFrameBytes;
    this.#heartbeatTimer = setInterval(() => {
      this.#send({ op: "ping", id: newId("f") });
      this.#expect(PATIENCE_MS);
    }, this.#heartbeatMs);
    this.#catchUp();
    this.#setState("connected");
    this.listener.onWelcome(frame);
  }

  /**
   * Subscribe again, and repeat what was not answered.
   *
   * Where there is a cursor, subscribing comes first: what a run brings would overtake what was
   * missed. Elsewhere it comes last, for the run may have to make the thread.
   */
  #catchUp() {
    const asked = [...this.#unanswered.values()].map(({ frame }) => frame);
    for (const { id } of asked.filter(({ op }) => op === "subscribe")) this.#unanswered.delete(id);
    const threads = [...this.#threads];
    const known = new Set(threads.filter((threadId) => this.listener.cursorOf(threadId)));
    for (const threadId of known) this.#subscribe(threadId);
    for (const frame of asked) if (frame.op !== "subscribe") this.#send(frame);
    for (const threadId of threads) if (!known.has(threadId)) this.#subscribe(threadId);
  }

  /** The gateway would close again at the same frame. */
  #giveUpOnLargest() {
    const runs = [...this.#unanswered].filter(([, { frame }]) => frame.op === "run");
    const size = (/** @type {any} */ entry) => JSON.stringify(entry[1].frame).length;
    const largest = runs.sort((one, other) => size(other) - size(one))[0];
    if (!largest) return;
    this.#unanswered.delete(largest[0]);
    largest[1].reject(new Refused({ code: "too_large", message: "The message is too long." }));
  }
}
