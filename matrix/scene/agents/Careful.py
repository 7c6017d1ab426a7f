"""An agent whose tool a person has to approve."""

from agents import Agent, function_tool


@function_tool(needs_approval=True)
def refund(order: str) -> str:
    """Pay money back."""
    return f"{order} is paid back"


agent = Agent(name="Careful", tools=[refund])
