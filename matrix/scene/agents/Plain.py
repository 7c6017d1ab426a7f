"""An agent that only talks."""

from agents import Agent

agent = Agent(name="Plain", instructions="Answer shortly.")
