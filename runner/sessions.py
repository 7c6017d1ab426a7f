"""Sessions of the SDK that agent code brings along: read once, written once.

A session keeps its items somewhere outside. A replay that read what the first attempt had written
would ask its models something else, and would write it all again. So the first read is a step; what
is added stays here, and is written when the tool around it ends, or the run: unless the session is
longer by then, because a predecessor has written it just before it died.
"""

import copy
from collections.abc import Callable
from typing import Any

from agents.memory import Session
from agents.memory.openai_conversations_session import OpenAIConversationsSession

from runner.journal import Key
from runner.scope import Scope
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: How to make the first read a step: (scope, key, what to do) → its record.
Step = Callable[..., Any]
NO_DIGEST = ""
#: Class, id, and the file where there is one.
Identity = tuple[type, str, str]


class Kept:
    """What the run knows of one session; all session objects with its id share it."""

    def __init__(self, inner: Session, scope: Scope) -> None:
        self.inner, self.scope = inner, scope
        self.first: list[Any] | None = None
        self.items: list[Any] = []

    async def read(self, step: Step) -> list[Any]:
        """The items as they are now, by the run's own doing."""
        if self.first is None:

            async def live() -> dict[str, Any]:
                return {"shown": [], "items": await self.inner.get_items()}

            key = Key(self.scope.name, "session", self.inner.session_id)
            record = await step(self.scope, key, NO_DIGEST, live)
            self.first = record["items"]
            self.items = copy.deepcopy(self.first)
        return self.items

    async def write(self) -> None:
        """Write what was added, unless somebody has."""
        if self.first is None or self.items == self.first:
            return
        now = await self.inner.get_items()
        if len(now) != len(self.first):
            log.info("a session was written before", session=self.inner.session_id)
        elif self.items[: len(self.first)] == self.first:
            await self.inner.add_items(self.items[len(self.first) :])
        else:
            await self.inner.clear_session()
            await self.inner.add_items(self.items)
        self.first = copy.deepcopy(self.items)


class Sessions:
    """The sessions of one run."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._kept: dict[Identity, Kept] = {}

    @property
    def open(self) -> bool:
        """Whether one is in use: its items are kept here alone."""
        return bool(self._kept)

    def of(self, session: Session, scope: Scope) -> Session:
        """The session in place of which agent code gets ours; servers' own sessions stay."""
        if isinstance(session, (JournaledSession, OpenAIConversationsSession)):
            return session
        return self.journaled(session, scope)

    def journaled(self, session: Session, scope: Scope) -> "JournaledSession":
        """A session's stand-in."""
        place = str(getattr(session, "db_path", ""))
        identity = (type(session), session.session_id, place)
        kept = self._kept.setdefault(identity, Kept(session, scope))
        return JournaledSession(kept, self._step)

    async def write(self, inside: Scope | None = None) -> None:
        """Write all sessions, or those that were brought along inside a scope."""
        for identity, kept in self.brought_along(inside):
            await kept.write()
            del self._kept[identity]

    def brought_along(self, inside: Scope | None) -> list[tuple[Identity, Kept]]:
        """Those that were brought along inside a scope; all of them without one."""
        return [
            (identity, kept)
            for identity, kept in self._kept.items()
            if inside is None or kept.scope.path[: len(inside.path)] == inside.path
        ]


class JournaledSession(Session):
    """A session whose writes wait."""

    def __init__(self, kept: Kept, step: Step) -> None:
        self._kept, self._step = kept, step
        self.session_id = kept.inner.session_id
        self.session_settings = kept.inner.session_settings

    async def get_items(self, limit: int | None = None) -> list[Any]:
        """The newest `limit` items in order; all of them without one."""
        items = await self._kept.read(self._step)
        return copy.deepcopy(items[-limit:] if limit else items if limit is None else [])

    async def add_items(self, items: list[Any]) -> None:
        """Add items at the end."""
        (await self._kept.read(self._step)).extend(copy.deepcopy(items))

    async def pop_item(self) -> Any:
        """Take the newest item away."""
        items = await self._kept.read(self._step)
        return items.pop() if items else None

    async def clear_session(self) -> None:
        """Take all items away."""
        (await self._kept.read(self._step)).clear()
