"""The agent of the drill: tools with effects, a hand-off, an agent as tool."""

from agents import Agent

from baton import gateway_tool

researcher = Agent(
    name="Researcher",
    handoff_description="Answers questions that need thought.",
    instructions="Researcher: think it through and research the answer.",
)

summarizer = Agent(name="Summarizer", instructions="Summarizer: summarize what you are given.")

agent = Agent(
    name="Drill",
    instructions="Drill: do what you are told.",
    handoffs=[researcher],
    tools=[
        gateway_tool("ledger"),
        gateway_tool("save_note"),
        gateway_tool("current_time"),
        summarizer.as_tool(tool_name="summarize", tool_description="Summarize a text."),
    ],
)
