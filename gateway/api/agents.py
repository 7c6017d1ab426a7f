"""Agents that can be talked to."""

from typing import Any

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from gateway.access import visible
from gateway.api.routing import SignedIn, WithServices, api_router
from gateway.api.shapes import Page, Shape

router = api_router("agents")


class Agent(Shape):
    """An agent, as its runners describe it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")

    name: str = Field(examples=["Assistant"])
    title: str | None = Field(None, examples=["Assistant"])
    description: str | None = None
    digest: str | None = Field(None, description="Digest of its code.")
    starters: list[str] = Field([], description="What one might say first.")
    capabilities: dict[str, Any] = Field(
        {}, description="AG-UI's AgentCapabilities.", examples=[{"transport": {"streaming": True}}]
    )


@router.get("/agents", operation_id="listAgents")
async def list_agents(caller: SignedIn, services: WithServices) -> Page[Agent]:
    """List the agents that I may use, and that runners serve, or lately served."""
    found = (await visible(services, caller)).all()
    return Page(data=[Agent.model_validate(agent) for agent in found], next=None)
