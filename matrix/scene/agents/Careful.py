"""An agent whose tool a person has to approve."""

import os
from pathlib import Path

from agents import Agent, function_tool


@function_tool(needs_approval=True)
def refund(order: str) -> str:
    """Pay money back."""
    with Path(os.environ["AGENT_MATRIX_PAID"]).open("a") as book:
        book.write(f"{order}\n")
    return f"{order} is paid back"


agent = Agent(name="Careful", tools=[refund])
