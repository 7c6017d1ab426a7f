/** A conversation on the screen; only what has changed is drawn again. */

import { ASKS, Turn, handedOverTo, textOf } from "./conversation.js";
import { arrange, byId, el, setText } from "./dom.js";
import { fileList, filesIn, filesOf, wordsOf } from "./files.js";
import { MarkdownView } from "./markdown.js";

/**
 * @typedef {import("./conversation.js").Conversation} Conversation
 * @typedef {import("./conversation.js").Message} Message
 * @typedef {import("./conversation.js").SubAgent} SubAgent
 *
 * @typedef {object} Wishes what the person may ask for
 * @property {(turn: Turn) => void} retry
 * @property {(turn: Turn) => void} edit
 * @property {(turn: Turn) => void} withdraw
 * @property {() => Promise<void>} earlier
 * @property {(turn: Turn, decision: {id: string, approved: boolean, message?: string})
 *   => Promise<boolean>} decide whether it was recorded
 */

/** So near to the end counts as being there. */
const NEAR_PX = 60;

export class ChatView {
  /** @type {Conversation | null} */
  #conversation = null;
  /** @type {Map<string, TurnView>} */
  #views = new Map();
  /** Whether the screen follows what comes. */
  #following = true;

  /** @param {Wishes} wishes */
  constructor(wishes) {
    this.wishes = wishes;
    this.scroller = byId("log");
    this.list = byId("turns");
    this.earlier = byId("earlier");
    this.down = byId("down");
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.down.addEventListener("click", () => this.toEnd());
    this.earlier.addEventListener("click", () => this.#showEarlier());
    new ResizeObserver(() => this.#follow()).observe(this.scroller);
  }

  /** Show another conversation. @param {Conversation | null} conversation */
  show(conversation) {
    this.#conversation = conversation;
    this.#views.clear();
    this.list.replaceChildren();
    this.#following = true;
    this.draw();
  }

  /** Go to the newest, and follow it. */
  toEnd() {
    this.#following = true;
    this.#follow();
  }

  /** Draw what has changed. */
  draw() {
    const turns = this.#conversation?.turns ?? [];
    const retried = new Set(turns.map((turn) => turn.retryOf));
    const said = new Set(turns.map((turn) => turn.said[0]?.id));
    const asking = turns.some((turn) => turn.state === "asking");
    const newest = turns.findLast((turn) => turn.state !== "waiting" && turn.state !== "sending");
    const views = turns.map((turn) => {
      const view = this.#views.get(turn.key) ?? new TurnView(this.wishes);
      this.#views.set(turn.key, view);
      view.update(turn, {
        repeats: turn.retryOf !== null && said.has(turn.retryOf),
        retried: turn.said.some((message) => retried.has(message.id)),
        newest: turn === newest,
        asking,
      });
      return view.element;
    });
    arrange(this.list, views);
    this.earlier.hidden = !this.#conversation?.more;
    this.#follow();
  }

  #follow() {
    if (this.#following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.down.hidden = this.#atEnd();
  }

  #atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }

  #scrolled() {
    this.#following = this.#atEnd();
    this.down.hidden = this.#following;
  }

  async #showEarlier() {
    const before = this.scroller.scrollHeight - this.scroller.scrollTop;
    this.#following = false;
    this.earlier.disabled = true;
    await this.wishes.earlier();
    this.earlier.disabled = false;
    this.draw();
    this.scroller.scrollTop = this.scroller.scrollHeight - before;
  }
}

/** One turn: what the person said, what came of it, and how it stands. */
class TurnView {
  /** @type {Turn | null} */
  #turn = null;
  #drawn = "";

  /** @param {Wishes} wishes */
  constructor(wishes) {
    this.wishes = wishes;
    this.said = el("div", { class: "said" });
    this.items = new ItemList();
    this.questions = new QuestionList(wishes);
    this.foot = el("div", { class: "foot" });
    this.element = el("li", { class: "turn" },
      this.said, this.items.element, this.questions.element, this.foot);
  }

  /** @param {Turn} turn
   * @param {{repeats: boolean, retried: boolean, newest: boolean, asking: boolean}} place */
  update(turn, place) {
    const drawn = `${turn.version} ${turn.state} ${JSON.stringify(place)}`;
    if (turn === this.#turn && drawn === this.#drawn) return;
    this.#turn = turn;
    this.#drawn = drawn;
    this.element.dataset.state = turn.state;
    this.element.setAttribute("aria-busy", String(turn.state === "running"));
    const bubbles = place.repeats ? [] : turn.said;
    if (this.said.children.length !== bubbles.length) {
      this.said.replaceChildren(...bubbles.map((message) => el("div", { class: "bubble" },
        el("h2", { class: "off-screen" }, "You said"), ...saidNodes(message.content))));
    }
    this.items.update(turn.transcript.messages, turn, turn.state === "running");
    this.questions.update(turn);
    this.#drawFoot(turn, place);
  }

  /** @param {Turn} turn @param {{retried: boolean, newest: boolean, asking: boolean}} place */
  #drawFoot(turn, place) {
    const mayRetry = place.newest && !place.retried;
    const doing = turn.state === "running" ? working(turn) : "";
    const shown = `${turn.state} ${turn.takeOvers} ${doing} ${mayRetry} ${place.asking}`;
    if (shown === this.foot.dataset.shown) return;
    this.foot.dataset.shown = shown;
    const resumed = turn.takeOvers > 0
      ? [el("p", { class: "note" }, "Another runner took over and went on.")] : [];
    this.foot.replaceChildren(...resumed, ...this.#standing(turn, doing, { mayRetry, ...place }));
  }

  /** How the turn stands, and what can be done about it.
   * @param {Turn} turn @param {string} doing
   * @param {{mayRetry: boolean, asking: boolean}} place @returns {Node[]} */
  #standing(turn, doing, { mayRetry, asking }) {
    const { retry, edit, withdraw } = this.wishes;
    switch (turn.state) {
      case "sending":
        return [el("p", { class: "note" }, "Sending…")];
      case "waiting":
        return [el("p", { class: "note" },
          asking ? "Waiting until you have decided above" : "Waiting for its turn",
          button("Withdraw", () => withdraw(turn)))];
      case "running":
        return [el("p", { class: "working" },
          el("span", { class: "dots", "aria-hidden": "true" }, el("i"), el("i"), el("i")), doing)];
      case "stopped":
        return [el("p", { class: "note" }, "Stopped")];
      case "unsent":
        return [failureNode("Not sent.", turn, button("Try again", () => retry(turn)),
          button("Edit", () => edit(turn)))];
      case "failed":
        return [failureNode("This did not work.", turn,
          mayRetry ? button("Retry", () => retry(turn)) : null)];
      default:
        return [];
    }
  }
}

/** What a person said, and the files beside it. @param {any} content */
function saidNodes(content) {
  const files = filesOf(content);
  const words = files.length ? wordsOf(content) : textOf(content);
  return [...(words ? [words] : []), ...(files.length ? [fileList(files)] : [])];
}

/** What a run asks the person, one below the other. */
class QuestionList {
  /** @type {Map<string, QuestionView>} */
  #views = new Map();

  /** @param {Wishes} wishes */
  constructor(wishes) {
    this.wishes = wishes;
    this.element = el("div", { class: "questions" });
  }

  /** @param {Turn} turn */
  update(turn) {
    const questions = turn.state === "asking" ? turn.questions : [];
    arrange(this.element, questions.map((question) => {
      const view = this.#views.get(question.id) ?? new QuestionView(this.wishes);
      this.#views.set(question.id, view);
      view.update(question, turn);
      return view.element;
    }));
  }
}

const DECIDED = { approved: "Approved", rejected: "Rejected", superseded: "Not decided" };

/** One question: what shall be called with what, and the person's answer. */
class QuestionView {
  /** @type {Turn | null} */
  #turn = null;
  /** @type {import("./conversation.js").Question | null} */
  #question = null;

  /** @param {Wishes} wishes */
  constructor(wishes) {
    this.wishes = wishes;
    this.text = el("h3");
    this.input = el("pre", { tabindex: "0", role: "group", "aria-label": "Arguments" });
    this.message = el("input", { type: "text", maxlength: "2000",
      placeholder: "Why not? (optional)", "aria-label": "What the agent is told if you reject" });
    this.approve = button("Approve", () => this.#decide(true));
    this.reject = button("Reject", () => this.#decide(false));
    this.approve.classList.add("primary");
    this.form = el("div", { class: "question-answer" }, this.approve, this.reject, this.message);
    this.outcome = el("p", { class: "note", role: "status" });
    this.element = el("section", { class: "question", role: "group", "aria-label": "Approval" },
      this.text, this.input, this.form, this.outcome);
  }

  /** @param {import("./conversation.js").Question} question @param {Turn} turn */
  update(question, turn) {
    this.#question = question;
    this.#turn = turn;
    const open = question.status === "open";
    setText(this.text, question.text);
    setText(this.input, pretty(question.arguments));
    this.input.hidden = !question.arguments;
    this.form.hidden = !open;
    this.approve.hidden = question.ofClient; // it is carried out, and told, by the client
    setText(this.outcome, open ? "" : DECIDED[question.status]);
  }

  /** @param {boolean} approved */
  async #decide(approved) {
    if (!this.#turn || !this.#question) return;
    const { value } = /** @type {HTMLInputElement} */ (this.message);
    const message = approved ? "" : value.trim();
    this.#lock(true);
    const { id } = this.#question;
    const said = { id, approved, ...(message ? { message } : {}) };
    if (!await this.wishes.decide(this.#turn, said)) this.#lock(false);
  }

  /** @param {boolean} locked */
  #lock(locked) {
    for (const one of [this.approve, this.reject, this.message]) {
      /** @type {HTMLButtonElement} */ (one).disabled = locked;
    }
  }
}

/** @param {string} text @param {() => void} click */
function button(text, click) {
  return el("button", { type: "button", class: "small", click }, text);
}

/** @param {string} title @param {Turn} turn @param {...(Node | null)} buttons */
function failureNode(title, turn, ...buttons) {
  const { message = "", code = "" } = turn.failure ?? {};
  return el("div", { class: "failure", role: "group", "aria-label": "Error" },
    el("p", {}, el("strong", {}, title), " ", message, " ", el("code", {}, code)),
    el("p", {}, ...buttons));
}

/** What is going on, in words. @param {Turn} turn */
function working(turn) {
  if (turn.waitsFor) return turn.waitsFor;
  const { messages } = turn.transcript;
  const open = messages.flatMap((message) => message.toolCalls ?? [])
    .find((call) => Turn.resultOf(call.id, messages) === null);
  const who = turn.agent ?? "The agent";
  if (open && !open.function.name.startsWith("transfer_to_")) {
    return `${who} uses ${open.function.name}`;
  }
  return messages.at(-1)?.role === "assistant" && messages.at(-1)?.content
    ? `${who} writes` : `${who} thinks`;
}

/** Messages of an agent, one below the other: text, thoughts, tool calls, hand-offs. */
class ItemList {
  /** @type {Map<string, any>} */
  #views = new Map();

  constructor() {
    this.element = el("div", { class: "items" });
  }

  /** @param {Message[]} messages @param {Turn} turn @param {boolean} running */
  update(messages, turn, running) {
    /** @type {Element[]} */
    const shown = [];
    const show = (/** @type {string} */ key, /** @type {new () => any} */ View,
      /** @type {any[]} */ ...facts) => {
      const view = this.#views.get(key) ?? new View();
      this.#views.set(key, view);
      view.update(...facts);
      shown.push(view.element);
    };
    messages.forEach((message, index) => {
      if (message.role === "tool") return;
      if (message.role === "activity") {
        if (message.activityType === "baton.compaction") {
          show(`activity ${message.id}`, SummaryView, message.content.summary);
        }
        return;
      }
      const text = textOf(message.content);
      const last = running && index === messages.length - 1;
      if (message.role === "reasoning") {
        if (text || last) show(`reasoning ${message.id}`, ReasoningView, text, last);
        return;
      }
      if (text) show(`text ${message.id}`, TextView, text, message.role);
      for (const call of message.toolCalls ?? []) {
        const result = Turn.resultOf(call.id, messages);
        const target = handedOverTo(call.function.name, result?.text ?? null);
        if (target !== null) show(`hand-off ${call.id}`, HandOffView, target);
        else show(`call ${call.id}`, CallView, call, result, turn, running);
        const files = filesIn(result?.text ?? "");
        if (files.length) show(`files ${call.id}`, FilesView, files);
      }
    });
    arrange(this.element, shown);
  }
}

class TextView {
  constructor() {
    this.markdown = new MarkdownView();
    this.element = el("div", { class: "text" },
      el("h2", { class: "off-screen" }, "Answer"), this.markdown.element);
  }

  /** @param {string} text */
  update(text) {
    this.markdown.update(text);
  }
}

class ReasoningView {
  constructor() {
    this.label = el("span", {}, "Thoughts");
    this.markdown = new MarkdownView();
    this.element = el("details", { class: "reasoning" },
      el("summary", {}, this.label), this.markdown.element);
  }

  /** @param {string} text @param {boolean} thinking */
  update(text, thinking) {
    setText(this.label, thinking ? "Thinking…" : "Thoughts");
    this.markdown.update(text);
  }
}

/** The files that a tool has made. */
class FilesView {
  #drawn = "";

  constructor() {
    this.element = el("div", { class: "made" });
  }

  /** @param {import("./files.js").Shown[]} files */
  update(files) {
    const drawn = JSON.stringify(files);
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    this.element.replaceChildren(fileList(files));
  }
}

/** Where the model has a summary of what came before; people still see all of it. */
class SummaryView {
  constructor() {
    this.markdown = new MarkdownView();
    this.element = el("details", { class: "reasoning summary" },
      el("summary", {}, "The model reads a summary of what was said before"), this.markdown.element);
  }

  /** @param {string} text */
  update(text) {
    this.markdown.update(text);
  }
}

class HandOffView {
  constructor() {
    this.name = el("strong");
    this.element = el("p", { class: "hand-off" }, el("span", {}, "Handed over to ", this.name));
  }

  /** @param {string} name */
  update(name) {
    setText(this.name, name);
  }
}

/** A tool call: its name and state; what went in, happened inside, and came out, on demand. */
class CallView {
  /** @type {Map<string, SubAgentView>} */
  #inside = new Map();

  constructor() {
    this.name = el("span", { class: "tool-name" });
    this.state = el("span", { class: "tool-state" });
    this.input = el("pre", { tabindex: "0", role: "group", "aria-label": "Arguments" });
    this.agents = el("div", { class: "sub-agents" });
    this.output = el("pre", { tabindex: "0", role: "group", "aria-label": "Result" });
    this.outputPart = el("div", {}, el("h3", {}, "Result"), this.output);
    this.element = el("details", { class: "call" },
      el("summary", {}, el("span", { class: "icon", "aria-hidden": "true" }), this.name, this.state),
      el("div", { class: "call-body" },
        el("div", {}, el("h3", {}, "Arguments"), this.input), this.agents, this.outputPart));
  }

  /** @param {import("./conversation.js").ToolCall} call
   * @param {import("./conversation.js").Result | null} result
   * @param {Turn} turn @param {boolean} running */
  update(call, result, turn, running) {
    const { name } = call.function;
    const agents = turn.inside(call.id);
    const ended = result?.failed ? "failed" : "done";
    const asked = turn.askedAbout(call.id);
    const waits = asked === "open" ? ASKS : asked ?? "no result";
    const state = result !== null ? ended : running ? "running" : waits;
    const asking = running && result === null && !turn.asked.has(call.id);
    const handing = name.startsWith("transfer_to_");
    setText(this.name, handing && running && result === null ? "Handing over" : name);
    setText(this.state, asking ? "preparing" : state);
    this.element.dataset.state = state.replace(" ", "-");
    setText(this.input, pretty(call.function.arguments));
    setText(this.output, pretty(result?.text ?? ""));
    this.outputPart.hidden = result === null;
    arrange(this.agents, agents.map((agent) => this.#agent(agent, turn)));
  }

  /** @param {SubAgent} agent @param {Turn} turn */
  #agent(agent, turn) {
    const view = this.#inside.get(agent.id) ?? new SubAgentView();
    this.#inside.set(agent.id, view);
    view.update(agent, turn);
    return view.element;
  }
}

/** An agent that works for another, inside the call that asked for it. */
class SubAgentView {
  constructor() {
    this.name = el("h3");
    this.items = new ItemList();
    this.element = el("section", { class: "sub-agent" }, this.name, this.items.element);
  }

  /** @param {SubAgent} agent @param {Turn} turn */
  update(agent, turn) {
    const running = agent.state === "running" && turn.state === "running";
    setText(this.name, `Agent ${agent.name}${running ? " is working" : ""}`);
    this.items.update(agent.transcript.messages, turn, running);
  }
}

/** JSON set out on lines; anything else as it is. @param {string} text */
function pretty(text) {
  try {
    const parsed = JSON.parse(text);
    return typeof parsed === "object" ? JSON.stringify(parsed, null, 2) : text;
  } catch {
    return text;
  }
}
