// Vercel's AI SDK with @ai-sdk/openai, which speaks Responses.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText } from "ai";
import { through } from "./ai_sdk.mjs";
import { base, key, serve, versionOf } from "./bridge.mjs";

const baton = createOpenAI({ baseURL: base, apiKey: key });

// The agent's own tools look to it like those of an MCP server that is called by the provider.
const tools = {
  mcp: baton.tools.mcp({ serverLabel: "Careful", serverUrl: base, requireApproval: "always" }),
};

await serve(
  {
    ...through((model) => baton.responses(model)),
    async question({ model, text }) {
      const messages = [{ role: "user", content: text }];
      const made = await generateText({ model: baton.responses(model), tools, messages });
      const asked = made.content.filter((part) => part.type === "tool-approval-request");
      return {
        text: JSON.stringify(asked),
        handle: {
          model,
          messages: [...messages, ...made.response.messages],
          asked: asked.map((part) => part.approvalId),
        },
      };
    },
    async approve({ handle: { model, messages, asked } }) {
      const content = asked.map((approvalId) => ({
        type: "tool-approval-response",
        approvalId,
        approved: true,
        providerExecuted: true,
      }));
      const made = await generateText({
        model: baton.responses(model),
        tools,
        messages: [...messages, { role: "tool", content }],
      });
      return made.text;
    },
  },
  `${versionOf("ai")} with openai ${versionOf("@ai-sdk/openai")}`,
);
