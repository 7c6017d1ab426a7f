// @ag-ui/client at the AG-UI door.
import { randomUUID } from "node:crypto";
import { HttpAgent } from "@ag-ui/client";
import { key, serve, url, versionOf } from "./bridge.mjs";

/** A client with its own thread, to which something was said. */
const told = (model, text, threadId = randomUUID()) => {
  const headers = { authorization: `Bearer ${key}` };
  const agent = new HttpAgent({ url: `${url}/agui/${model}`, headers, threadId });
  agent.addMessage({ id: `${threadId}-1`, role: "user", content: text });
  return agent;
};

const run = async (agent, parameters) => {
  let failure;
  const { newMessages } = await agent.runAgent(parameters, {
    onRunErrorEvent: ({ event }) => void (failure = `${event.code}: ${event.message}`),
  });
  if (failure) throw new Error(failure);
  return newMessages
    .filter((one) => one.role === "assistant")
    .map((one) => one.content ?? "")
    .join("");
};

/** The run's id is its idempotency key, and the thread the same with it. */
const under = (key) => (key ? { runId: key } : {});

await serve(
  {
    answer: ({ model, text, key }) => run(told(model, text, key), under(key)),
    structured: ({ model, text }) => run(told(model, text), {}),
    async *pieces({ model, text, key }, signal) {
      const agent = told(model, text, key);
      signal.addEventListener("abort", () => agent.abortRun());
      const waiting = [];
      let wake = () => {};
      const put = (item) => {
        waiting.push(item);
        wake();
      };
      agent
        .runAgent(under(key), {
          onTextMessageContentEvent: ({ event }) => put({ piece: event.delta }),
          onRunErrorEvent: ({ event }) => put({ error: new Error(`${event.code}: ${event.message}`) }),
        })
        .then(() => put({ end: true }), (error) => put({ error }));
      for (;;) {
        while (waiting.length === 0) await new Promise((resolve) => (wake = resolve));
        const { piece, error, end } = waiting.shift();
        if (error) throw error;
        if (end) return;
        yield piece;
      }
    },
    async question({ model, text }) {
      const agent = told(model, text);
      await run(agent, {});
      const { threadId, messages, pendingInterrupts } = agent;
      return {
        text: JSON.stringify([pendingInterrupts, messages]),
        handle: { model, threadId, messages, asked: pendingInterrupts.map((one) => one.id) },
      };
    },
    approve({ handle: { model, threadId, messages, asked } }) {
      const headers = { authorization: `Bearer ${key}` };
      const agent = new HttpAgent({
        url: `${url}/agui/${model}`,
        headers,
        threadId,
        initialMessages: messages,
      });
      const resume = asked.map((interruptId) => ({
        interruptId,
        status: "resolved",
        payload: { approved: true },
      }));
      return run(agent, { resume });
    },
  },
  versionOf("@ag-ui/client"),
);
