// What Vercel's AI SDK does alike, whichever API its provider speaks.
import { generateText, jsonSchema, Output, streamText } from "ai";
import { once } from "./bridge.mjs";
import { event } from "./shape.mjs";

/** The functions of a client whose models `modelOf` names. */
export const through = (modelOf) => ({
  async answer({ model, text, key }) {
    const made = await generateText({ model: modelOf(model), prompt: text, headers: once(key) });
    return made.text;
  },
  async structured({ model, text }) {
    const made = await generateText({
      model: modelOf(model),
      prompt: text,
      output: Output.object({ schema: jsonSchema(event) }),
    });
    return JSON.stringify(made.output);
  },
  async *pieces({ model, text, key }, signal) {
    const made = streamText({
      model: modelOf(model),
      prompt: text,
      headers: once(key),
      abortSignal: signal,
      onError: () => {},
    });
    for await (const part of made.fullStream) {
      if (part.type === "text-delta") yield part.text;
      if (part.type === "error") throw part.error;
    }
  },
});
