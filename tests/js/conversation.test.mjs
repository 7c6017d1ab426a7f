// The rules of what the page shows, as transcripts: events in, turns out.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import {
  Conversation, Turn, handedOverTo, isAfter, textOf,
} from "../../gateway/page/conversation.js";

const read = (name) =>
  readFileSync(new URL(`../page/streams/${name}.ndjson`, import.meta.url), "utf8")
    .trim().split("\n").map((line) => JSON.parse(line));

const user = (id, content = id, more = {}) => ({ id, role: "user", content, ...more });
const assistant = (id, content = id) => ({ id, role: "assistant", content });
const started = (runId, ...messages) => ({ type: "RUN_STARTED", runId, input: { messages } });
const chunk = (messageId, delta) => ({ type: "TEXT_MESSAGE_CHUNK", messageId, delta });
const finished = (outcome = "success") => ({ type: "RUN_FINISHED", outcome: { type: outcome } });
const live = (id, more = {}) =>
  ({ id, status: "queued", claimedAt: null, cancelRequestedAt: null, ...more });

/** Events of one fence, numbered. */
const placed = (fence, ...events) =>
  events.map((event, index) => ({ id: `${fence}-${index + 1}`, event }));

/** Shortly what is on the screen: who said what, and how each turn stands. */
const screen = (conversation) => conversation.turns.map((turn) => [
  turn.state,
  ...turn.said.map((message) => textOf(message.content)),
  ...turn.transcript.messages.map((message) => textOf(message.content)),
]);

const fed = (...batches) => {
  const conversation = new Conversation("thr_1");
  for (const one of batches.flat()) conversation.add(one);
  return conversation;
};

const asked = (id, toolCallId) => ({ id, toolCallId, message: "May I?",
  metadata: { baton: { tool: "send", arguments: "{}" } } });
const asking = (...interrupts) =>
  ({ type: "RUN_FINISHED", outcome: { type: "interrupt", interrupts } });
const resumes = (runId, parentRunId) => ({ ...started(runId), parentRunId });
const result = (id, toolCallId, content) =>
  ({ type: "TOOL_CALL_RESULT", messageId: id, toolCallId, content });

describe("questions", () => {
  const first = placed(1, started("r1", user("u")), chunk("a", "Wait."),
    asking(asked("i1", "c1"), asked("i2", "c2")));
  const second = placed(2, resumes("r2", "r1"), result("t", "c1", "sent"), finished());

  test("are open until they are decided, here or elsewhere", () => {
    const [turn] = fed(first).turns;
    assert.equal(turn.state, "asking");
    assert.equal(turn.askedAbout("c1"), "open");
    turn.decided([{ id: "i1", status: "approved" }, { id: "i2", status: "open" }]);
    assert.deepEqual(turn.questions.map(({ status }) => status), ["approved", "open"]);
    assert.equal(turn.state, "asking");
  });

  test("about a client's own tool are told from those that a person answers", () => {
    const ofClient = { ...asked("i1", "c1"), reason: "client_tool" };
    const [turn] = fed(placed(1, started("r1", user("u")), asking(ofClient, asked("i2")))).turns;
    assert.deepEqual(turn.questions.map((one) => one.ofClient), [true, false]);
  });

  test("that nobody can answer any more end the turn", () => {
    const [turn] = fed(first).turns;
    turn.decided([{ id: "i1", status: "superseded" }, { id: "i2", status: "superseded" }]);
    assert.equal(turn.state, "stopped");
  });

  test("end with the run that goes on, in the same turn", () => {
    const conversation = fed(first, second);
    assert.deepEqual(screen(conversation), [["done", "u", "Wait.", "sent"]]);
    assert.deepEqual(conversation.turns[0].questions, []);
    assert.equal(conversation.byRun("r2"), conversation.turns[0]);
  });

  test("of the past are shown again, and with them what came of it", () => {
    const past = { cursor: "2-3", messages: [user("u"), assistant("a", "Wait.")] };
    const remembered = (...batches) => {
      const conversation = new Conversation("thr_1");
      conversation.reset(past);
      conversation.remember(batches.flat());
      return conversation;
    };
    assert.equal(remembered(first).asking?.runId, "r1");
    assert.deepEqual(screen(remembered(first, second)), [["done", "u", "Wait.", "sent"]]);
  });

  test("whose run goes on before its past is read go on in the newest turn", () => {
    const conversation = new Conversation("thr_1");
    conversation.reset({ cursor: "2-0", messages: [user("u"), assistant("a", "Wait.")] });
    for (const one of second) conversation.add(one);
    assert.deepEqual(screen(conversation), [["done", "u", "Wait.", "sent"]]);
  });

  test("are not mixed up with a message that waits behind them", () => {
    const conversation = fed(first);
    conversation.say("r3", user("later"));
    conversation.accepted("r3", true);
    conversation.waiting([live("r2", { parentRunId: "r1" }), live("r3")]);
    assert.deepEqual(screen(conversation), [["asking", "u", "Wait."], ["waiting", "later"]]);
    for (const one of second) conversation.add(one);
    assert.deepEqual(screen(conversation),
      [["done", "u", "Wait.", "sent"], ["waiting", "later"]]);
  });
});

describe("cursors", () => {
  test("are compared as two numbers", () => {
    assert.ok(isAfter("2-1", "1-99"));
    assert.ok(isAfter("1-10", "1-9"));
    assert.ok(!isAfter("1-9", "1-9"));
    assert.ok(isAfter("1-1", null));
  });
});

describe("events", () => {
  test("that came before, or come again, change nothing", () => {
    const events = placed(1, started("r", user("u")), chunk("a", "Hel"), chunk("a", "lo"));
    const conversation = fed(events);
    assert.equal(conversation.add(events[1]), false);
    assert.equal(conversation.add({ id: "1-3", event: chunk("a", "!") }), false);
    assert.deepEqual(screen(conversation), [["running", "u", "Hello"]]);
    assert.equal(conversation.cursor, "1-3");
  });

  test("end a turn as done, stopped or failed", () => {
    const failing = { type: "RUN_ERROR", message: "No key.", code: "upstream_auth" };
    for (const [event, state] of [
      [finished(), "done"], [finished("cancelled"), "stopped"], [failing, "failed"],
    ]) {
      const conversation = fed(placed(1, started("r", user("u")), event));
      assert.equal(conversation.turns[0].state, state);
      assert.equal(conversation.busy, false);
    }
  });

  test("of recorded streams, cut and resent at every place, make the same screen", () => {
    for (const name of ["hello", "tool", "hand_off", "sub_agent", "take_over"]) {
      const events = read(name);
      const whole = JSON.stringify(fed(events).turns);
      for (let cut = 0; cut < events.length; cut += 1) {
        const again = fed(events.slice(0, cut), events.slice(Math.max(0, cut - 3)));
        assert.equal(JSON.stringify(again.turns), whole, `${name} at ${cut}`);
      }
    }
  });

  test("of a take-over withdraw what was half written", () => {
    const [turn] = fed(read("take_over")).turns;
    assert.equal(turn.takeOvers, 1);
    assert.equal(turn.state, "done");
    const texts = turn.transcript.messages.filter((one) => one.role === "assistant" && one.content);
    assert.equal(texts.length, 1);
  });
});

describe("sub-agents", () => {
  const inside = { subagentRunId: "s" };
  const begin = [
    started("r", user("u")),
    { type: "TOOL_CALL_START", toolCallId: "c", toolCallName: "ask", parentMessageId: "a" },
    { type: "SUBAGENT_STARTED", name: "Helper", parentToolCallId: "c", ...inside },
    { type: "TEXT_MESSAGE_START", messageId: "x", role: "assistant", ...inside },
    { type: "TEXT_MESSAGE_CONTENT", messageId: "x", delta: "half", ...inside },
  ];

  test("are shown inside the call that asked for them, and nowhere else", () => {
    const [turn] = fed(read("sub_agent")).turns;
    const [call] = turn.transcript.messages.flatMap((message) => message.toolCalls ?? []);
    const [agent] = turn.inside(call.id);
    assert.equal(agent.name, "Summarizer");
    assert.equal(agent.state, "done");
    assert.deepEqual(agent.transcript.messages.map((one) => one.content),
      ["In short: the plot of Hamlet."]);
    assert.ok(!turn.transcript.messages.some((one) => one.id === agent.transcript.messages[0].id));
  });

  test("lose what they had half written when another runner takes over", () => {
    const resumed = { type: "CUSTOM", name: "baton.resumed", value: {} };
    const [turn] = fed(placed(1, ...begin), placed(2, resumed)).turns;
    assert.equal(turn.takeOvers, 1);
    assert.deepEqual(turn.inside("c"), []);
  });
});

describe("hand-offs", () => {
  test("are known by name and answer", () => {
    assert.equal(handedOverTo("transfer_to_researcher", '{"assistant":"Researcher"}'), "Researcher");
    assert.equal(handedOverTo("transfer_to_researcher", "Multiple handoffs detected"), null);
    assert.equal(handedOverTo("transfer_to_researcher", "null"), null);
    assert.equal(handedOverTo("other", '{"assistant":"Researcher"}'), null);
    assert.equal(handedOverTo("transfer_to_researcher", null), null);
  });
});

describe("a reset", () => {
  const past = [user("u1"), assistant("a1"), user("u2"), assistant("a2")];

  test("replaces what was shown, and events go on from its cursor", () => {
    const conversation = fed(placed(1, started("r0", user("u0")), finished()));
    conversation.reset({ cursor: "3-0", messages: [...past, user("u3")], more: true });
    assert.deepEqual(screen(conversation),
      [["done", "u1", "a1"], ["done", "u2", "a2"], ["unknown", "u3"]]);
    assert.equal(conversation.more, true);
    for (const one of placed(3, started("r3", user("u3")), chunk("a3", "x"))) conversation.add(one);
    assert.deepEqual(screen(conversation).at(-1), ["running", "u3", "x"]);
    assert.equal(conversation.turns.length, 3);
  });

  test("keeps what this page has sent and not heard of", () => {
    const conversation = new Conversation("thr_1");
    conversation.say("r9", user("u9"));
    conversation.reset({ cursor: "0-0", messages: past });
    assert.deepEqual(screen(conversation).at(-1), ["sending", "u9"]);
    conversation.reset({ cursor: "0-0", messages: [...past, user("u9")] });
    assert.deepEqual(screen(conversation).filter(([, said]) => said === "u9"), [["unknown", "u9"]]);
  });

  test("is filled from stored events: what went wrong is shown again", () => {
    const conversation = new Conversation("thr_1");
    conversation.reset({ cursor: "2-3", messages: [user("u1"), user("u2"), assistant("a2")] });
    conversation.remember([
      { id: "0-9", event: finished() }, // of a run whose beginning lies further back
      ...placed(1, started("r1", user("u1")), { type: "RUN_ERROR", message: "No.", code: "x" }),
      ...placed(2, started("r2", user("u2")), chunk("a2", "a2"), finished("cancelled")),
    ]);
    assert.deepEqual(screen(conversation), [["failed", "u1"], ["stopped", "u2", "a2"]]);
    conversation.earlier([user("u0"), assistant("a0")], false);
    assert.deepEqual(screen(conversation)[0], ["done", "u0", "a0"]);
    assert.equal(conversation.turns.length, 3);
  });
});

describe("what is sent", () => {
  test("is shown at once, and becomes the run's turn", () => {
    const conversation = new Conversation("thr_1");
    conversation.say("r1", user("u1"));
    assert.deepEqual(screen(conversation), [["sending", "u1"]]);
    conversation.accepted("r1", false);
    assert.equal(conversation.active.runId, "r1");
    for (const one of placed(1, started("r1", user("u1")), chunk("a", "A"))) conversation.add(one);
    assert.deepEqual(screen(conversation), [["running", "u1", "A"]]);
  });

  test("says why it was refused, and can be taken back", () => {
    const conversation = new Conversation("thr_1");
    assert.equal(conversation.say("r1", user("u1")), true);
    assert.equal(conversation.say("r1", user("u1")), false);
    conversation.refused("r1", { code: "unavailable", message: "Try again." });
    assert.deepEqual(screen(conversation), [["unsent", "u1"]]);
    assert.equal(conversation.say("r1", user("u1")), true);
    conversation.refused("r1", { code: "unavailable", message: "Try again." });
    conversation.forget(conversation.turns[0]);
    assert.deepEqual(screen(conversation), []);
  });

  test("waits behind the run that goes on, in the order of the gateway", () => {
    const conversation = fed(placed(1, started("r1", user("u1"))));
    conversation.say("r3", user("u3"));
    conversation.accepted("r3", true);
    conversation.say("r2", user("u2"));
    conversation.accepted("r2", true);
    conversation.waiting([live("r3"), live("r2"), live("r1", { claimedAt: "now" })]);
    assert.deepEqual(screen(conversation),
      [["running", "u1"], ["waiting", "u2"], ["waiting", "u3"]]);
    conversation.add({ id: "1-2", event: finished() });
    for (const one of placed(2, started("r2", user("u2")))) conversation.add(one);
    assert.deepEqual(screen(conversation), [["done", "u1"], ["running", "u2"], ["waiting", "u3"]]);
  });

  test("of another page waits, too, and may be withdrawn", () => {
    const conversation = new Conversation("thr_1");
    conversation.reset({ cursor: "1-0", messages: [user("u1"), user("u2"), user("u3")] });
    for (const one of placed(1, started("r1", user("u1")))) conversation.add(one);
    const alive = [live("r3", { cancelRequestedAt: "now" }), live("r2")];
    conversation.waiting(alive);
    conversation.waiting(alive);
    assert.deepEqual(screen(conversation),
      [["running", "u1"], ["waiting", "u2"], ["stopped", "u3"]]);
  });

  test("once more after a failure is known as such", () => {
    const turn = new Turn("u2");
    turn.add(started("r2", user("u2", "hello", { metadata: { retryOf: "u1" } })));
    assert.equal(turn.retryOf, "u1");
  });
});
