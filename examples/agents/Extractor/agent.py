"""An answer with a shape: JSON for programs."""

from agents import Agent
from pydantic import BaseModel


class Event(BaseModel):
    """What is found in a text."""

    title: str
    place: str
    people: list[str]


agent = Agent(
    name="Extractor",
    instructions="Find the event that the text speaks of.",
    output_type=Event,
)
