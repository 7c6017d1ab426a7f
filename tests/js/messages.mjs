// Standard input: a JSON list of streams of events. Output: the messages each of them makes.
import { readFileSync } from "node:fs";
import { Turn } from "../../gateway/page/conversation.js";

const streams = JSON.parse(readFileSync(0, "utf8"));
const made = streams.map((events) => {
  const turn = new Turn("key");
  for (const event of events) turn.add(event);
  return turn.transcript.messages;
});
process.stdout.write(JSON.stringify(made));
