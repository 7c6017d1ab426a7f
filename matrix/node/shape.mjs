// What the agent's `output_type` promises, as a JSON schema for the clients that ask with one.
export const event = {
  type: "object",
  properties: {
    title: { type: "string" },
    people: { type: "array", items: { type: "string" } },
  },
  required: ["title", "people"],
  additionalProperties: false,
};
