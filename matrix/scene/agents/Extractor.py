"""An agent whose answer has a shape."""

from agents import Agent
from pydantic import BaseModel


class Event(BaseModel):
    """What is found in a text."""

    title: str
    people: list[str]


agent = Agent(name="Extractor", output_type=Event)
