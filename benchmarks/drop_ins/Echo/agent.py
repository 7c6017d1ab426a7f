"""An agent with one tool of its own: what a turn costs."""

from agents import Agent, function_tool


@function_tool
def echo(text: str) -> str:
    """Say it again."""
    return text


agent = Agent(name="Echo", instructions="Answer.", tools=[echo])
