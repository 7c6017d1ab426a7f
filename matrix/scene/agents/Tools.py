"""An agent with a tool."""

from agents import Agent, function_tool


@function_tool
def add(a: int, b: int) -> str:
    """Add two numbers."""
    return f"the sum is {a + b}"


agent = Agent(name="Tools", instructions="Count.", tools=[add])
