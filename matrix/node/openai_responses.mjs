// openai-node, responses.
import OpenAI from "openai";
import { base, key, once, serve, versionOf } from "./bridge.mjs";
import { event } from "./shape.mjs";

const client = new OpenAI({ baseURL: base, apiKey: key });

await serve(
  {
    async answer({ model, text, key }) {
      const made = await client.responses.create({ model, input: text }, { headers: once(key) });
      return made.output_text;
    },
    async structured({ model, text }) {
      const made = await client.responses.parse({
        model,
        input: text,
        text: { format: { type: "json_schema", name: "Event", strict: true, schema: event } },
      });
      return made.output_text;
    },
    async *pieces({ model, text, key }, signal) {
      const events = await client.responses.create(
        { model, input: text, stream: true },
        { headers: once(key) },
      );
      signal.addEventListener("abort", () => events.controller.abort());
      for await (const one of events)
        if (one.type === "response.output_text.delta") yield one.delta;
    },
    cancel: async ({ run }) => void (await client.responses.cancel(`resp_${run}`)),
    remove: async ({ run }) => void (await client.responses.delete(`resp_${run}`)),
    async question({ model, text }) {
      const made = await client.responses.create({ model, input: text });
      const asked = made.output.filter((one) => one.type === "mcp_approval_request");
      return { text: JSON.stringify(asked), handle: { model, id: made.id, asked } };
    },
    async approve({ handle: { model, id, asked } }) {
      const made = await client.responses.create({
        model,
        previous_response_id: id,
        input: asked.map((one) => ({
          type: "mcp_approval_response",
          approval_request_id: one.id,
          approve: true,
        })),
      });
      return made.output_text;
    },
  },
  versionOf("openai"),
);
