"""The assistant that comes with Baton: profile, notes, a researcher, a summarizer."""

from agents import Agent

from baton import gateway_tool

researcher = Agent(
    name="Researcher",
    handoff_description="Answers questions that need thought and background.",
    instructions=(
        "You are the researcher. Think the question through step by step, then answer it in a few "
        "clear paragraphs. Say what you are not sure of."
    ),
)

summarizer = Agent(
    name="Summarizer",
    instructions="Summarize the text you are given in at most three sentences.",
)

agent = Agent(
    name="Assistant",
    instructions=(
        "You are a helpful assistant. You know the user's profile and notes only through your "
        "tools: look there before you ask, and change them when the user asks you to. Hand "
        "questions that need research to the Researcher. Answer briefly."
    ),
    handoffs=[researcher],
    tools=[
        gateway_tool("get_profile"),
        gateway_tool("update_profile"),
        gateway_tool("save_note"),
        gateway_tool("search_notes"),
        gateway_tool("delete_note"),
        gateway_tool("echo_context"),
        gateway_tool("current_time"),
        summarizer.as_tool(
            tool_name="summarize", tool_description="Summarize a text in a few sentences."
        ),
    ],
)
