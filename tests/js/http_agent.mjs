// Talks with the AG-UI door through the official client, unmodified, and says what came of it.
// In:  one JSON object {url, headers, threadId, says: [{id, content}]} on standard input.
// Out: {messages, replayed, warnings, errors}; `replayed` is what a second client is told.
import { HttpAgent } from "@ag-ui/client";

const parts = [];
for await (const part of process.stdin) parts.push(part);
const { url, headers, threadId, says } = JSON.parse(Buffer.concat(parts).toString());

const warnings = [];
const errors = [];
console.warn = (...words) => warnings.push(words.map(String).join(" "));
console.error = (...words) => errors.push(words.map(String).join(" "));

const attempt = async (agent) => {
  try {
    await agent.runAgent({});
  } catch (error) {
    errors.push(String(error.stack ?? error));
  }
};

const agent = new HttpAgent({ url, headers, threadId });
for (const { id, content } of says) {
  agent.addMessage({ id, role: "user", content });
  await attempt(agent);
}
const second = new HttpAgent({ url: `${url}/connect`, headers, threadId });
await attempt(second);
process.stdout.write(
  JSON.stringify({ messages: agent.messages, replayed: second.messages, warnings, errors }),
);
