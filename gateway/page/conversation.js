/**
 * From events to what a person sees of a thread: pure rules, without a browser.
 *
 * A thread is shown as turns. A turn is one run: what the person said, and what came of it. The
 * messages of a turn follow the rules of the official AG-UI reducer, as shared/protocol/transcript.py
 * does; a test compares the two.
 *
 * @typedef {{id: string, type: string, function: {name: string, arguments: string}}} ToolCall
 * @typedef {{id: string, role: string, content?: any, activityType?: string,
 *   toolCalls?: ToolCall[], toolCallId?: string,
 *   metadata?: Record<string, any>}} Message
 * @typedef {{text: string, failed: boolean}} Result
 * @typedef {{type: string, [field: string]: any}} AgUiEvent
 * @typedef {{id: string, event: AgUiEvent}} PlacedEvent
 * @typedef {{code: string, message: string}} Failure
 * @typedef {"open"|"approved"|"rejected"|"superseded"} QuestionStatus
 * @typedef {{id: string, text: string, tool: string, arguments: string, callId: string | null,
 *   ofClient: boolean, status: QuestionStatus}} Question
 * @typedef {"sending"|"waiting"|"running"|"asking"|"done"|"stopped"|"failed"|"unsent"|"unknown"
 *   } TurnState
 */

/** Said of what waits for the person. */
export const ASKS = "asks you";

/** A cursor's two numbers: `"3-17"` → `[3, 17]`. @param {string} cursor */
function parts(cursor) {
  return cursor.split("-").map(Number);
}

/** Whether position `a` lies after position `b`; before everything is `null`.
 * @param {string} a @param {string | null} b */
export function isAfter(a, b) {
  if (b === null) return true;
  const [fence, seq] = parts(a);
  const [otherFence, otherSeq] = parts(b);
  return fence > otherFence || (fence === otherFence && seq > otherSeq);
}

/** The text of a message's content, which may be a string or parts. @param {any} content */
export function textOf(content) {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part) => (part.type === "text" ? part.text : `[${part.type}]`)).join("");
}

/** The messages that events make, the person's own excluded; feed it events in order. */
export class Transcript {
  constructor() {
    /** @type {Message[]} */
    this.messages = [];
    /** @type {Map<string, ToolCall>} */
    this.calls = new Map();
  }

  /** @param {AgUiEvent} event */
  add(event) {
    switch (event.type) {
      case "TEXT_MESSAGE_CHUNK":
      case "TEXT_MESSAGE_CONTENT":
      case "TEXT_MESSAGE_START":
        this.#text(event, "assistant");
        break;
      case "REASONING_MESSAGE_START":
      case "REASONING_MESSAGE_CONTENT":
        this.#text(event, "reasoning");
        break;
      case "TOOL_CALL_START":
        this.#call(event);
        break;
      case "TOOL_CALL_ARGS": {
        const call = this.calls.get(event.toolCallId);
        if (call) call.function.arguments += event.delta;
        break;
      }
      case "TOOL_CALL_RESULT":
        this.messages.push({
          id: event.messageId, role: "tool", toolCallId: event.toolCallId, content: event.content,
          metadata: event.metadata,
        });
        break;
      case "ACTIVITY_SNAPSHOT": {
        const message = this.#message(event.messageId, "activity");
        Object.assign(message, { activityType: event.activityType, content: event.content });
        break;
      }
      case "MESSAGES_SNAPSHOT":
        this.#withdraw(event.messages);
        break;
    }
  }

  /** @param {AgUiEvent} event @param {string} role */
  #text(event, role) {
    const message = this.#message(event.messageId, role);
    message.content = (message.content ?? "") + (event.delta ?? "");
  }

  /** @param {AgUiEvent} event */
  #call(event) {
    const message = this.#message(event.parentMessageId || event.toolCallId, "assistant");
    const call = {
      id: event.toolCallId,
      type: "function",
      function: { name: event.toolCallName, arguments: "" },
    };
    (message.toolCalls ??= []).push(call);
    this.calls.set(call.id, call);
  }

  /** @param {string} id @param {string} role @returns {Message} */
  #message(id, role) {
    const known = this.messages.findLast((message) => message.id === id);
    if (known) return known;
    const message = { id, role };
    this.messages.push(message);
    return message;
  }

  /** A snapshot takes back what it does not restate (half-written text and calls).
   * @param {Message[]} restated */
  #withdraw(restated) {
    const kept = new Map(restated.map((message) => [message.id, structuredClone(message)]));
    this.messages = this.messages.flatMap((message) => kept.get(message.id) ?? []);
    const calls = this.messages.flatMap((message) => message.toolCalls ?? []);
    this.calls = new Map(calls.map((call) => [call.id, call]));
  }
}

/** An agent at work inside a tool call of another. */
export class SubAgent {
  /** @param {AgUiEvent} started */
  constructor(started) {
    /** @type {string} */
    this.id = started.subagentRunId;
    /** @type {string} */
    this.name = started.name;
    /** @type {string | null} */
    this.callId = started.parentToolCallId ?? null;
    /** @type {string | null} */
    this.outer = started.parentSubagentRunId ?? null;
    /** @type {"running" | "done" | "failed" | "interrupted"} */
    this.state = "running";
    this.transcript = new Transcript();
    /** Ids of messages that are not complete yet. @type {Set<string>} */
    this.writing = new Set();
  }

  /** @param {AgUiEvent} event */
  add(event) {
    this.transcript.add(event);
    if (event.type === "TEXT_MESSAGE_START") this.writing.add(event.messageId);
    if (event.type === "TEXT_MESSAGE_END") this.writing.delete(event.messageId);
    if (event.type === "SUBAGENT_FINISHED" && this.state === "running") this.state = "done";
    if (event.type === "SUBAGENT_ERROR") this.state = "failed";
  }
}

/** What a run asks, as its last event tells it. @param {any} asked @returns {Question} */
function questionOf(asked) {
  const about = asked.metadata?.baton ?? {};
  return {
    id: asked.id,
    text: asked.message ?? "The agent asks for an approval.",
    tool: about.tool ?? "",
    arguments: about.arguments ?? "",
    callId: asked.toolCallId ?? null,
    ofClient: asked.reason === "client_tool",
    status: "open",
  };
}

/** One run, and those that resume it: what the person said, and what came of it. */
export class Turn {
  /** @param {string} key of this turn as long as it is shown */
  constructor(key) {
    this.key = key;
    /** The newest run. @type {string | null} */
    this.runId = null;
    /** All of them. @type {Set<string>} */
    this.runs = new Set();
    /** What the run asks the person. @type {Question[]} */
    this.questions = [];
    /** @type {Message[]} */
    this.said = [];
    this.transcript = new Transcript();
    /** @type {Map<string, SubAgent>} */
    this.subAgents = new Map();
    /** Calls whose arguments are complete. @type {Set<string>} */
    this.asked = new Set();
    /** @type {TurnState} */
    this.state = "done";
    /** @type {Failure | null} */
    this.failure = null;
    /** How often another runner took the run over. */
    this.takeOvers = 0;
    /** What the run waits for, until something happens. @type {string | null} */
    this.waitsFor = null;
    /** The agent that this page asked for. @type {string | undefined} */
    this.asksFor = undefined;
    /** The agent at work. @type {string | null} */
    this.agent = null;
    /** Grows with every change, so that a view knows what to draw again. */
    this.version = 0;
  }

  /** Whether the run may still go on. */
  get live() {
    return this.state === "running" || this.state === "waiting" || this.state === "sending";
  }

  /** The id of the message that this turn says once more, after a failure. */
  get retryOf() {
    return this.said[0]?.metadata?.retryOf ?? null;
  }

  /** @param {AgUiEvent} event */
  add(event) {
    this.version += 1;
    this.waitsFor = event.name === "baton.waiting" ? event.value?.message ?? null : null;
    const inner = this.#subAgent(event);
    if (inner) {
      inner.add(event);
    } else {
      this.transcript.add(event);
    }
    switch (event.type) {
      case "RUN_STARTED":
        this.#begin(event);
        break;
      case "STEP_STARTED":
        if (!event.subagentRunId) this.agent = event.stepName;
        break;
      case "TOOL_CALL_END":
        this.asked.add(event.toolCallId);
        break;
      case "CUSTOM":
        if (event.name === "baton.resumed") this.#takenOver();
        if (event.name === "baton.restarted") this.#restarted(event.value?.messageIds ?? []);
        break;
      case "RUN_FINISHED":
        this.questions = (event.outcome?.interrupts ?? []).map(questionOf);
        this.state = { cancelled: "stopped", interrupt: "asking" }[event.outcome?.type] ?? "done";
        break;
      case "RUN_ERROR":
        this.state = "failed";
        this.failure = { code: event.code ?? "internal", message: event.message };
        break;
    }
  }

  /** @param {AgUiEvent} event */
  #begin(event) {
    this.runId = event.runId;
    this.runs.add(event.runId);
    this.state = "running";
    this.questions = [];
    const said = (event.input?.messages ?? []).filter(
      (/** @type {Message} */ one) => one.role === "user",
    );
    if (said.length) this.said = said;
  }

  /** Take in what was decided, perhaps elsewhere. A run whose questions nobody can answer any more
   * is over. @param {{id: string, status: QuestionStatus}[]} asked */
  decided(asked) {
    if (this.state !== "asking") return;
    this.version += 1;
    for (const question of this.questions) {
      question.status = asked.find(({ id }) => id === question.id)?.status ?? question.status;
    }
    if (this.questions.every(({ status }) => status === "superseded")) this.state = "stopped";
  }

  /** Whether a call without a result is asked about, or what was decided. @param {string} callId */
  askedAbout(callId) {
    const asked = this.questions.find((one) => one.callId === callId);
    return this.state === "asking" && asked ? asked.status : null;
  }

  /** @param {AgUiEvent} event @returns {SubAgent | null} */
  #subAgent(event) {
    if (!event.subagentRunId) return null;
    if (event.type === "SUBAGENT_STARTED" || !this.subAgents.has(event.subagentRunId)) {
      this.subAgents.set(event.subagentRunId, new SubAgent({ name: "agent", ...event }));
    }
    return this.subAgents.get(event.subagentRunId) ?? null;
  }

  /** Another runner goes on: what sub-agents had half written will be written anew. */
  #takenOver() {
    this.takeOvers += 1;
    for (const inner of this.subAgents.values()) {
      if (inner.state !== "running") continue;
      inner.state = "interrupted";
      const { transcript, writing } = inner;
      transcript.messages = transcript.messages.filter((message) => !writing.has(message.id));
    }
  }

  /** A model call begins anew. Of the run's own messages the snapshot that follows takes back what
   * was half written; sub-agents' are in none. @param {string[]} withdrawn */
  #restarted(withdrawn) {
    for (const { transcript } of this.subAgents.values()) {
      transcript.messages = transcript.messages.filter(({ id }) => !withdrawn.includes(id));
    }
  }

  /** Sub-agents inside a tool call. @param {string} callId @returns {SubAgent[]} */
  inside(callId) {
    return [...this.subAgents.values()].filter(
      (one) => one.callId === callId && (one.state === "running" || one.transcript.messages.length),
    );
  }

  /** The result of a call, if it has come. @param {string} callId @param {Message[]} messages
   * @returns {Result | null} */
  static resultOf(callId, messages) {
    const found = messages.find((one) => one.role === "tool" && one.toolCallId === callId);
    return found ? { text: textOf(found.content), failed: found.metadata?.baton?.failed === true } : null;
  }
}

/**
 * Whom a call hands over to, if it is a hand-off: the SDK names such tools `transfer_to_…` and
 * answers them with `{"assistant": "<name>"}`.
 *
 * @param {string} name of the tool @param {string | null} result @returns {string | null}
 */
export function handedOverTo(name, result) {
  if (!name.startsWith("transfer_to_") || result === null) return null;
  try {
    const parsed = JSON.parse(result);
    return typeof parsed?.assistant === "string" ? parsed.assistant : null;
  } catch {
    return null;
  }
}

/** Messages cut into turns: each message of a person begins one. What has no answer may have failed
 * or may wait; events, or the list of runs, will tell. @param {Message[]} messages */
function asTurns(messages) {
  /** @type {Turn[]} */
  const turns = [];
  for (const message of messages) {
    if (message.role === "user" || turns.length === 0) turns.push(new Turn(message.id));
    const turn = turns[turns.length - 1];
    if (message.role === "user") turn.said.push(message);
    else turn.transcript.messages.push(message);
    turn.state = turn.transcript.messages.length ? "done" : "unknown";
  }
  return turns;
}

/** A thread, as far as this page knows it. */
export class Conversation {
  /** @param {string} threadId */
  constructor(threadId) {
    this.threadId = threadId;
    /** The newest event taken into account. @type {string | null} */
    this.cursor = null;
    /** How often it began anew. */
    this.resets = 0;
    /** Of which claims on events were read, to show past runs in full. */
    this.rememberedFrom = 0;
    /** Whether older messages can be asked for. */
    this.more = false;
    /** Messages read, oldest first. @type {Message[]} */
    this.past = [];
    /** Turns of which events are known, by the id of each message that the person said in them.
     * @type {Map<string, Turn>} */
    this.told = new Map();
    /** `past`, cut into turns. @type {Turn[]} */
    this.pastTurns = [];
    /** Turns that came after `past`, or are still to come, in order. @type {Turn[]} */
    this.recent = [];
    /** The turn that events go to. @type {Turn | null} */
    this.current = null;
  }

  /** All turns, oldest first. @returns {Turn[]} */
  get turns() {
    return [...this.pastTurns, ...this.recent];
  }

  /** Cut the past into turns; those of which events are known come in full. */
  #cut() {
    const shown = new Set(this.recent);
    this.pastTurns = asTurns(this.past)
      .map((turn) => this.told.get(turn.key) ?? turn)
      .filter((turn) => !shown.has(turn) && shown.add(turn));
  }

  /** The run that goes on. @returns {Turn | null} */
  get active() {
    return this.turns.find((turn) => turn.state === "running") ?? null;
  }

  /** Whether anything is under way. */
  get busy() {
    return this.turns.some((turn) => turn.live);
  }

  /** What goes on, in a word or two. What waits behind a question waits for the person, too. */
  get standing() {
    if (this.asking) return ASKS;
    return this.busy ? "running" : "";
  }

  /** The turn of a run. @param {string} runId */
  byRun(runId) {
    return this.turns.find((turn) => turn.runId === runId) ?? null;
  }

  /**
   * Begin anew from what the gateway says. What this page has sent and not yet heard of stays.
   *
   * @param {{cursor: string, messages: Message[], more?: boolean}} reset
   */
  reset({ cursor, messages, more }) {
    const held = new Set(messages.map((message) => message.id));
    const mine = this.recent.filter(
      (turn) => ["sending", "unsent"].includes(turn.state) && !held.has(turn.said[0]?.id),
    );
    this.resets += 1;
    this.cursor = cursor;
    this.past = messages;
    this.more = Boolean(more);
    this.told = new Map();
    this.recent = mine;
    this.current = null;
    this.#cut();
  }

  /**
   * Take in stored events of runs that are over; `past` shows them from now on in full.
   *
   * @param {PlacedEvent[]} placed in order; what stands before the first RUN_STARTED is of a run
   *   whose beginning is not there, and is passed over
   */
  remember(placed) {
    /** @type {Turn | null} */
    let turn = null;
    for (const { event } of placed) {
      if (event.type === "RUN_STARTED") {
        turn = this.#resumed(event, [...this.told.values()])
          ?? new Turn(event.input?.messages?.[0]?.id);
      }
      if (!turn?.key) continue;
      turn.add(event);
      if (event.type !== "RUN_STARTED") continue;
      for (const { id } of turn.said) {
        if (!this.recent.some((one) => one === this.told.get(id))) this.told.set(id, turn);
      }
    }
    this.#cut();
  }

  /** Put older messages in front. @param {Message[]} messages @param {boolean} more */
  earlier(messages, more) {
    this.past = [...messages, ...this.past];
    this.more = more;
    this.#cut();
  }

  /**
   * Take one event of the socket into account.
   *
   * @param {PlacedEvent} placed
   * @returns {boolean} whether it was new
   */
  add({ id, event }) {
    if (!isAfter(id, this.cursor)) return false;
    this.cursor = id;
    if (event.type === "RUN_STARTED") this.current = this.#begun(event);
    this.current?.add(event);
    return true;
  }

  /** The turn of a run that starts now: after those that are over, before those that wait.
   * @param {AgUiEvent} event @returns {Turn} */
  #begun(event) {
    const said = (event.input?.messages ?? []).filter(
      (/** @type {Message} */ message) => message.role === "user",
    );
    const ids = new Set(said.map((/** @type {Message} */ message) => message.id));
    const known = this.turns.find(
      (turn) => turn.runId === event.runId || ids.has(turn.said[0]?.id),
    );
    const resumed = known ? null : this.#resumed(event, this.turns) ?? this.#unanswered(event);
    const turn = known ?? resumed ?? new Turn(said[0]?.id ?? event.runId);
    this.recent = this.recent.filter((one) => one !== turn);
    const waiting = this.recent.findIndex((one) => one.state !== "running" && one.live);
    this.recent.splice(waiting < 0 ? this.recent.length : waiting, 0, turn);
    this.past = this.past.filter((message) => !ids.has(message.id));
    for (const id of ids) this.told.set(id, turn);
    if (resumed) this.told.set(resumed.key, resumed);
    this.#cut();
    if (resumed) return turn;
    turn.transcript = new Transcript();
    turn.subAgents.clear();
    return turn;
  }

  /** The turn that goes on with a run, which resumes another one.
   * @param {AgUiEvent} event @param {Turn[]} turns */
  #resumed(event, turns) {
    return turns.find((turn) => turn.runs.has(event.parentRunId)) ?? null;
  }

  /** The same where only messages are known of the run before: nothing else can have come since.
   * @param {AgUiEvent} event */
  #unanswered(event) {
    return event.parentRunId ? this.pastTurns.at(-1) ?? null : null;
  }

  /** The turn that waits for the person. @returns {Turn | null} */
  get asking() {
    return this.turns.find((turn) => turn.state === "asking") ?? null;
  }

  /**
   * Show at once what the person said.
   *
   * @param {string} runId @param {Message} message @param {string} [agent]
   * @returns {boolean} whether it is to be sent: not if it is on its way, or has arrived
   */
  say(runId, message, agent) {
    const known = this.byRun(runId);
    if (known) {
      const again = known.state === "unsent";
      if (again) this.#set(known, "sending");
      return again;
    }
    const turn = new Turn(message.id);
    turn.runId = runId;
    turn.said = [message];
    turn.asksFor = agent;
    turn.state = "sending";
    this.recent.push(turn);
    this.told.set(message.id, turn);
    return true;
  }

  /** The gateway has the run. @param {string} runId @param {boolean} queued */
  accepted(runId, queued) {
    const turn = this.byRun(runId);
    if (turn?.state === "sending" || turn?.state === "unsent") {
      this.#set(turn, queued ? "waiting" : "running");
    }
  }

  /** The gateway refused the run; nothing was stored. @param {string} runId @param {Failure} why */
  refused(runId, why) {
    const turn = this.byRun(runId);
    if (!turn || turn.state !== "sending") return;
    turn.failure = why;
    this.#set(turn, "unsent");
  }

  /** Take back a turn that was never accepted. @param {Turn} turn */
  forget(turn) {
    this.recent = this.recent.filter((one) => one !== turn);
    for (const message of turn.said) this.told.delete(message.id);
  }

  /**
   * Take in which runs of the thread are alive, newest first. The messages at the end that nobody
   * has answered belong to those which no runner has claimed.
   *
   * @param {{id: string, status: string, claimedAt: string | null, parentRunId: string | null,
   *   cancelRequestedAt: string | null}[]} alive
   */
  waiting(alive) {
    const unclaimed = alive.filter((run) => run.status === "queued" && run.claimedAt === null
      && !run.parentRunId); // which belongs to a turn that is shown
    const turns = this.turns;
    const silent = turns.filter((turn) => !turn.runId);
    for (const run of unclaimed) {
      let turn = turns.find((one) => one.runId === run.id);
      if (!turn) {
        turn = silent.pop();
        if (!turn || turn.transcript.messages.length || !turn.said.length) break;
        turn.runId = run.id;
        this.#set(turn, "waiting");
      }
      if (run.cancelRequestedAt) this.#set(turn, "stopped");
    }
    this.#line(turns.filter((turn) => unclaimed.some((run) => run.id === turn.runId)), unclaimed);
  }

  /** Put waiting turns in the order of their runs, before what is not sent yet.
   * @param {Turn[]} turns @param {{id: string}[]} newestFirst */
  #line(turns, newestFirst) {
    const place = new Map(newestFirst.map((run, index) => [run.id, index]));
    const at = (/** @type {Turn} */ turn) => place.get(turn.runId ?? "") ?? 0;
    const line = turns.sort((one, other) => at(other) - at(one));
    const ids = new Set(line.flatMap((turn) => turn.said.map((message) => message.id)));
    this.past = this.past.filter((message) => !ids.has(message.id));
    const rest = this.recent.filter((turn) => !line.includes(turn));
    const unsent = rest.findIndex((turn) => turn.state === "sending" || turn.state === "unsent");
    rest.splice(unsent < 0 ? rest.length : unsent, 0, ...line);
    this.recent = rest;
    this.#cut();
  }

  /** @param {Turn} turn @param {TurnState} state */
  #set(turn, state) {
    turn.state = state;
    turn.version += 1;
  }
}
