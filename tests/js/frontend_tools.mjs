// Carries out the calls of its own tools through the official client, unmodified, as frontends do:
// the result goes to the end of the messages, and the agent runs again.
// In:  one JSON object {url, headers, threadId, tools, says, results} on standard input; `says` are
//      texts of the person, `results` those of the tools by their names.
// Out: {texts, called, told, warnings, errors}; `told` are all results that stand in the messages.
import { HttpAgent } from "@ag-ui/client";

const parts = [];
for await (const part of process.stdin) parts.push(part);
const { url, headers, threadId, tools, says, results } = JSON.parse(Buffer.concat(parts).toString());

const warnings = [];
const errors = [];
console.warn = (...words) => warnings.push(words.map(String).join(" "));
console.error = (...words) => errors.push(words.map(String).join(" "));

const agent = new HttpAgent({ url, headers, threadId });
const called = [];
let made = 0;

/** Runs until nothing is left to carry out. */
const converse = async () => {
  let pending = [];
  agent.subscribe({
    onRunFinishedEvent: ({ pendingToolCallIds }) => {
      pending = pendingToolCallIds ?? [];
    },
  });
  do {
    await agent.runAgent({ tools });
    const calls = agent.messages.flatMap((one) => one.toolCalls ?? []);
    for (const id of pending) {
      const { name, arguments: given } = calls.find((one) => one.id === id).function;
      called.push([name, JSON.parse(given)]);
      made += 1;
      agent.addMessage({ id: `local_${made}`, role: "tool", toolCallId: id, content: results[name] });
    }
  } while (pending.length);
};

for (const content of says) {
  made += 1;
  agent.addMessage({ id: `local_${made}`, role: "user", content });
  try {
    await converse();
  } catch (error) {
    errors.push(String(error.stack ?? error));
  }
}
const texts = agent.messages.filter((one) => one.role === "assistant" && one.content)
  .map((one) => one.content);
const told = agent.messages.filter((one) => one.role === "tool").map((one) => one.content);
process.stdout.write(JSON.stringify({ texts, called, told, warnings, errors }));
