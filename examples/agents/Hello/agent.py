"""The least: an agent, and what it is told."""

from agents import Agent

agent = Agent(name="Hello", instructions="Greet people by their name, in one sentence.")
