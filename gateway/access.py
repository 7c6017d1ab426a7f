"""Who may see and use which agent: every door asks here.

An agent's namespace (`security.yaml`) and its own `agent.yaml` both have to let a caller in. Who is
not let in is told that there is no such agent.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from gateway.agents import known_agents
from gateway.auth.caller import Caller, How
from gateway.auth.policy import listed
from gateway.services import Services
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.settings.access import KEY_PREFIX, Access

Agents = Mapping[str, dict[str, Any]]


def admits(access: Access, caller: Caller) -> bool:
    """Whether a rule lets a caller in."""
    return _admits_person(access, caller) and _admits_key(access, caller)


def _admits_person(access: Access, caller: Caller) -> bool:
    if access.users is None and access.roles is None:
        return True
    roles = {"member", "admin"} if caller.admin else {"member"}
    return listed(caller.email, access.users or ()) or bool(roles & set(access.roles or ()))


def _admits_key(access: Access, caller: Caller) -> bool:
    if access.keys is None or caller.how is not How.KEY:
        return True
    return any(
        caller.key_shown.startswith(one) if one.startswith(KEY_PREFIX) else caller.key_name == one
        for one in access.keys
    )


class Visible:
    """The agents that there are, as one caller sees them."""

    def __init__(self, services: Services, caller: Caller, agents: Agents) -> None:
        self._security, self._caller, self._all = services.security, caller, agents

    def all(self) -> list[dict[str, Any]]:
        """Those that the caller may use, in the order of their names."""
        return [about for name, about in self._all.items() if self.may_use(name)]

    def may_use(self, name: str) -> bool:
        """Whether the caller may use an agent; of one that nobody serves only its name counts."""
        namespace = self._security.access_of(name)
        own = _own_rule((self._all.get(name) or {}).get("access"))
        return admits(namespace, self._caller) and own is not None and admits(own, self._caller)

    def find(self, model: str) -> dict[str, Any] | None:
        """The agent that a name or an alias means, if the caller may use it."""
        name = self.name_of(model)
        return self._all.get(name) if self.may_use(name) else None

    def name_of(self, model: str) -> str:
        """The name of the agent that an alias means; anything else as it is."""
        if model in self._all:
            return model
        meant = (name for name, one in self._all.items() if model in (one.get("aliases") or ()))
        return next(meant, model)

    def about(self, name: str) -> dict[str, Any] | None:
        """What runners say of an agent, if any of them serves it."""
        return self._all.get(name)

    def require(self, name: str) -> None:
        """Raise UNKNOWN_AGENT where the caller may not use an agent of this name."""
        if not self.may_use(name):
            raise unknown(name)


async def visible(services: Services, caller: Caller) -> Visible:
    """What a caller sees, as runners announced it within the last second."""
    return Visible(services, caller, await known_agents(services))


async def usable_agent(services: Services, caller: Caller, model: str) -> dict[str, Any]:
    """What runners say of the agent that a name or an alias means.

    Raises:
        BatonError: UNKNOWN_AGENT unless a runner serves, or lately served, such an agent, and the
            caller may use it.
    """
    found = (await visible(services, caller)).find(model)
    if found is None:
        services.agents = None  # a runner may have announced it this very second
        found = (await visible(services, caller)).find(model)
    if found is None:
        raise unknown(model)
    return found


def unknown(name: str) -> BatonError:
    """What is said of an agent that there is not, and of one that the caller may not use."""
    return BatonError(
        Code.UNKNOWN_AGENT,
        f"No runner serves an agent called {name[:128]!r}. `baton agents` lists those "
        "that are served, and for admins those that are broken.",
    )


def _own_rule(announced: object) -> Access | None:
    """What an agent.yaml says; `None` where a runner has announced what nobody understands."""
    try:
        return Access.model_validate(announced or {})
    except ValidationError:
        return None
