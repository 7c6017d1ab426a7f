"""An agent that strikes."""

from agents import Agent

from baton import gateway_tool

agent = Agent(name="Striker", instructions="Strike.", tools=[gateway_tool("strike")])
