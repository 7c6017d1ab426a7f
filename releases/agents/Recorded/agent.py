"""The agent of recorded runs. It stays as it is: each later release has to replay what it did."""

from agents import Agent, GuardrailFunctionOutput, function_tool, input_guardrail

from baton import gateway_tool


@input_guardrail
async def any_word(*_: object) -> GuardrailFunctionOutput:
    """Lets everything pass; its verdict is a step like others."""
    return GuardrailFunctionOutput(output_info={"fine": True}, tripwire_triggered=False)


@function_tool
def add(a: int, b: int) -> int:
    """Add two numbers, in the runner."""
    return a + b


researcher = Agent(
    name="Researcher",
    handoff_description="Answers questions that need thought and background.",
    instructions="You are the researcher.",
)

summarizer = Agent(name="Summarizer", instructions="Summarize the text you are given.")

agent = Agent(
    name="Recorded",
    instructions="You are a helpful assistant.",
    handoffs=[researcher],
    input_guardrails=[any_word],
    tools=[
        add,
        gateway_tool("save_note"),
        summarizer.as_tool(tool_name="summarize", tool_description="Summarize a text."),
    ],
)
