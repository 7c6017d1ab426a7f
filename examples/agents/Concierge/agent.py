"""A factory: an agent of its own for each run, which knows who asks."""

from agents import Agent, RunContextWrapper, function_tool

from baton import RunContext


@function_tool
def where_am_i(run: RunContextWrapper[RunContext]) -> str:
    """Tell which conversation this is."""
    return f"thread {run.context.thread_id}, run {run.context.run_id}"


def create_agent(context: RunContext) -> Agent[RunContext]:
    """Make the agent; a replay makes it again, so only what the context says may decide."""
    language = context.metadata.get("language", "English")
    return Agent(
        name="Concierge",
        instructions=f"Help the guest. Answer in {language}.",
        tools=[where_am_i],
    )
