"""A tool that a person has to approve, and one of toolsvc."""

from agents import Agent, function_tool

from baton import gateway_tool


@function_tool(needs_approval=True)
def refund(order: str, euros: float) -> str:
    """Pay money back."""
    return f"{euros:.2f} euros were paid back for order {order}."


agent = Agent(
    name="Refunds",
    instructions="Refund what people ask for, and save a note of each refund.",
    tools=[refund, gateway_tool("save_note")],
)
