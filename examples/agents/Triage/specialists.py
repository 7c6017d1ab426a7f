"""A module beside the agent's: it is imported like any other."""

from agents import Agent

billing = Agent(
    name="Billing",
    handoff_description="Answers questions about invoices and payments.",
    instructions="You know about invoices and payments. Be exact about money.",
)
shipping = Agent(
    name="Shipping",
    handoff_description="Answers questions about parcels.",
    instructions="You know where parcels are, or how to find out.",
)
