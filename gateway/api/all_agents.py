"""Agents as their runners have them: who serves what, and what is broken and why; for admins."""

from collections.abc import Iterable
from typing import Self

from fastapi import APIRouter
from pydantic import Field

from gateway.api.routing import PROBLEMS, SignedIn, StrictRoute, WithServices
from gateway.api.shapes import Page, Shape
from gateway.store import status
from gateway.store.status import ProcessRow
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.settings.security_file import NAME as RULES

router = APIRouter(
    prefix="/admin", tags=["operations"], route_class=StrictRoute, responses=PROBLEMS
)


class Version(Shape):
    """Some code of an agent, and the runners that serve it."""

    digest: str = Field(description="Digest of the code.")
    runners: list[str]


class Broken(Shape):
    """Why the newest code of an agent is not served, and which runners found so."""

    reason: str = Field(description="One sentence, with file and line.")
    traceback: str = Field(description="Of frames in the agent's own files; may be empty.")
    runners: list[str]


class AgentState(Shape):
    """An agent as living runners have it. One that was saved broken may be served all the same.

    The file of rules is among them where it cannot be used.
    """

    name: str
    served: list[Version]
    broken: list[Broken]

    @classmethod
    def of(cls, name: str, runners: Iterable[ProcessRow]) -> Self:
        """What these runners say of it."""
        served: dict[str, list[str]] = {}
        broken: dict[str, list[str]] = {}
        for one in runners:
            if (about := (one.agents or {}).get(name)) is not None:
                served.setdefault(str(about.get("digest") or ""), []).append(one.id)
            if (reason := (one.broken or {}).get(name)) is not None:
                broken.setdefault(str(reason), []).append(one.id)
        return cls(
            name=name,
            served=[Version(digest=digest, runners=ids) for digest, ids in served.items()],
            broken=[_broken(reason, ids) for reason, ids in broken.items()],
        )


def _broken(announced: str, runners: list[str]) -> Broken:
    reason, _, traceback = announced.partition("\n")
    return Broken(reason=reason, traceback=traceback, runners=runners)


@router.get("/agents", operation_id="listAllAgents")
async def list_all_agents(caller: SignedIn, services: WithServices) -> Page[AgentState]:
    """List agents with the runners that serve them, and what is broken, with tracebacks."""
    if not (caller.admin or services.settings.dev_mode):
        raise BatonError(Code.FORBIDDEN, "Only admins may do this.")
    async with services.db.reading(caller.user_id) as db:
        living = [one for one in await status.processes(db) if one.alive]
    names = {name for one in living for name in [*(one.agents or {}), *(one.broken or {})]}
    states = [AgentState.of(name, living) for name in sorted(names)]
    if services.security_problem and RULES not in names:  # else runners say the same of it
        states.append(
            AgentState(name=RULES, served=[], broken=[_broken(services.security_problem, [])])
        )
    return Page(data=states, next=None)
