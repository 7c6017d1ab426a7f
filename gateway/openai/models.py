"""`/v1/models`: agents, as models."""

from typing import Any

from fastapi import APIRouter

from gateway.agents import known_agents
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.services import Services
from shared.errors import BatonError
from shared.protocol.codes import Code

router = APIRouter(prefix="/v1", route_class=StrictRoute, include_in_schema=False)

OWNER = "baton"


@router.get("/models")
async def list_models(_caller: SignedIn, services: WithServices) -> dict[str, Any]:
    """Every agent that runners serve, or lately served."""
    found = await known_agents(services)
    return {"object": "list", "data": [_model(name) for name in found]}


@router.get("/models/{model:path}")
async def get_model(model: str, _caller: SignedIn, services: WithServices) -> dict[str, Any]:
    """One agent; its id may hold slashes."""
    return _model((await agent_of(services, model))["name"])


async def agent_of(services: Services, model: str) -> dict[str, Any]:
    """What runners say of the agent that a model's id names; UNKNOWN_AGENT where there is none."""
    found = (await known_agents(services)).get(model)
    if found is None:
        services.agents = None  # a runner may have announced it this very second
        found = (await known_agents(services)).get(model)
    if found is None:
        message = f"The model {model[:128]!r} does not exist: no runner serves such an agent."
        raise BatonError(Code.UNKNOWN_AGENT, message, param="model")
    return found


def _model(name: str) -> dict[str, Any]:
    """Nobody knows when an agent was made; the shape wants a time."""
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}
