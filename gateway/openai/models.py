"""`/v1/models`: agents, as models."""

from typing import Any

from fastapi import APIRouter

from gateway.access import usable_agent, visible
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.auth.caller import Caller
from gateway.services import Services
from shared.errors import BatonError
from shared.protocol.codes import Code

router = APIRouter(prefix="/v1", route_class=StrictRoute, include_in_schema=False)

OWNER = "baton"


@router.get("/models")
async def list_models(caller: SignedIn, services: WithServices) -> dict[str, Any]:
    """Every agent that the caller may use, by its name and its aliases."""
    found = (await visible(services, caller)).all()
    ids = [id_ for one in found for id_ in (one["name"], *(one.get("aliases") or ()))]
    return {"object": "list", "data": [_model(id_) for id_ in ids]}


@router.get("/models/{model:path}")
async def get_model(model: str, caller: SignedIn, services: WithServices) -> dict[str, Any]:
    """One agent; its id may hold slashes."""
    await agent_of(services, caller, model)
    return _model(model)


async def agent_of(services: Services, caller: Caller, model: str) -> dict[str, Any]:
    """What runners say of the agent that a model's id names; UNKNOWN_AGENT where there is none."""
    try:
        return await usable_agent(services, caller, model)
    except BatonError as error:
        if error.code is not Code.UNKNOWN_AGENT:
            raise
        why = "no runner serves such an agent. GET /v1/models lists those that there are."
        message = f"The model {model[:128]!r} does not exist: {why}"
        raise BatonError(Code.UNKNOWN_AGENT, message, param="model") from None


def _model(id_: str) -> dict[str, Any]:
    """Nobody knows when an agent was made; the shape wants a time."""
    return {"id": id_, "object": "model", "created": 0, "owned_by": OWNER}
