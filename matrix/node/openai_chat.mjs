// openai-node, chat completions.
import OpenAI from "openai";
import { base, key, once, serve, versionOf } from "./bridge.mjs";
import { event } from "./shape.mjs";

const client = new OpenAI({ baseURL: base, apiKey: key });
const said = (text) => [{ role: "user", content: text }];

await serve(
  {
    async answer({ model, text, key }) {
      const made = await client.chat.completions.create(
        { model, messages: said(text) },
        { headers: once(key) },
      );
      return made.choices[0].message.content;
    },
    async structured({ model, text }) {
      const made = await client.chat.completions.parse({
        model,
        messages: said(text),
        response_format: {
          type: "json_schema",
          json_schema: { name: "Event", strict: true, schema: event },
        },
      });
      return made.choices[0].message.content;
    },
    async *pieces({ model, text, key }, signal) {
      const chunks = await client.chat.completions.create(
        { model, messages: said(text), stream: true },
        { headers: once(key) },
      );
      signal.addEventListener("abort", () => chunks.controller.abort());
      for await (const chunk of chunks) yield chunk.choices[0]?.delta.content;
    },
  },
  versionOf("openai"),
);
