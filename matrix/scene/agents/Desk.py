"""An agent that hands off to another one."""

from agents import Agent

billing = Agent(name="Billing", instructions="You know about money.")
agent = Agent(name="Desk", instructions="Hand off what is about money.", handoffs=[billing])
