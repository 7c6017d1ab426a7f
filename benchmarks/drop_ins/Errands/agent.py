"""An agent with a tool of toolsvc, so that its runs have finished steps to replay."""

from agents import Agent

from baton import gateway_tool

agent = Agent(name="Errands", instructions="Answer.", tools=[gateway_tool("current_time")])
