// Feeds recorded runs to the official AG-UI client and says what it made of them.
// In:  one JSON object {threadId, runs: [{runId, message, events}]} on standard input.
// Out: {messages, warnings, errors}.
import { AbstractAgent } from "@ag-ui/client";
import { from } from "rxjs";

class RecordedAgent extends AbstractAgent {
  run() {
    return from(this.events);
  }
}

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const { threadId, runs } = JSON.parse(Buffer.concat(chunks).toString());

const warnings = [];
const errors = [];
console.warn = (...words) => warnings.push(words.map(String).join(" "));
console.error = (...words) => errors.push(words.map(String).join(" "));

const agent = new RecordedAgent({ threadId });
for (const { runId, message, events } of runs) {
  agent.events = events;
  agent.addMessage(message);
  try {
    await agent.runAgent({ runId });
  } catch (error) {
    // The client throws for RUN_ERROR, with its message; anything else is a complaint of its own.
    const last = events.at(-1);
    if (last.type !== "RUN_ERROR" || !String(error.message).includes(last.message)) {
      errors.push(String(error.stack ?? error));
    }
  }
}
process.stdout.write(JSON.stringify({ messages: agent.messages, warnings, errors }));
