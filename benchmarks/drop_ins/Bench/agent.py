"""An agent without tools: what a run costs by itself."""

from agents import Agent

agent = Agent(name="Bench", instructions="Answer.")
