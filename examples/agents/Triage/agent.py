"""Several agents: the one that others are handed to from is found by itself."""

from agents import Agent
from specialists import billing, shipping

front_desk = Agent(
    name="Front desk",
    instructions="Hand each question to who knows best. Ask back where it is not clear.",
    handoffs=[billing, shipping],
)
