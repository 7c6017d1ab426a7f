// Vercel's AI SDK with @ai-sdk/openai-compatible, which speaks chat completions.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { base, key, serve, versionOf } from "./bridge.mjs";
import { through } from "./ai_sdk.mjs";

const baton = createOpenAICompatible({
  name: "baton",
  baseURL: base,
  apiKey: key,
  includeUsage: true,
  supportsStructuredOutputs: true,
});

await serve(
  through((model) => baton(model)),
  `${versionOf("ai")} with openai-compatible ${versionOf("@ai-sdk/openai-compatible")}`,
);
