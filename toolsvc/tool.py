"""What a tool is: one decorated async function with typed parameters and a typed result.

The kind of call that its first parameter asks for decides how the tool is run:

- `SqlCall`: the tool works on our Postgres through `call.connection`. Its changes and the ledger's
  entry are one transaction, so its outcome is always known. It must be quick.
- `ToolCall`: the tool works anywhere. Should toolsvc die while it runs, nobody knows what it did:
  it is run again if it is declared `idempotent`, else a person has to settle it.

Who calls is in the call, from the run's token. A tool never takes it from its arguments.
"""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, get_type_hints
from uuid import UUID

import httpx
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from toolsvc.files import MadeFiles
from toolsvc.tool_schema import Parameters, SignatureError, parameters_of

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)  # OpenAI's rule for functions
_SCOPE = re.compile(r"[a-z0-9_.-]+:[a-z0-9_.-]+", re.ASCII)
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)


class OnError(StrEnum):
    """What an error of a tool does."""

    RUN = "run"  #: it ends the run with RUN_ERROR
    MODEL = "model"  #: the model is told, and may try something else


class ToolError(Exception):
    """A tool refuses in words: a code, a sentence, and an HTTP status from 400 to 499."""

    def __init__(self, code: str, message: str, *, status: int = 422) -> None:
        super().__init__(message)
        if not _CODE.fullmatch(code) or not 400 <= status <= 499:
            raise ValueError(f"not a code and status of a tool's error: {code!r}, {status}")
        self.code = code
        self.message = message
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One call: who asks, in which run, under which key."""

    user: UUID
    run: UUID
    root: UUID
    thread: UUID
    public_run: str
    public_thread: str
    project: UUID | None
    agent: str
    scopes: tuple[str, ...]
    #: The same for every repeat of this call, and no other's; `http` passes it on.
    idempotency_key: str
    #: For other services. What changes something carries the key above and a number.
    http: httpx.AsyncClient = field(repr=False)
    #: For reading on the side; what is written through it is not part of the ledger's transaction.
    engine: AsyncEngine = field(repr=False)
    #: For what the person shall download: `call.files.put(name, bytes)` gives the text for it.
    files: MadeFiles = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlCall(ToolCall):
    """A call whose changes in our Postgres and whose entry in the ledger are one transaction."""

    #: Inside a transaction already; the tool neither commits nor rolls back.
    connection: AsyncConnection = field(repr=False)


ToolFunction = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that agents may call."""

    name: str
    description: str
    scope: str
    idempotent: bool
    on_error: OnError
    transactional: bool
    parameters: Parameters = field(repr=False)
    function: ToolFunction = field(repr=False)

    def catalogue_entry(self) -> dict[str, Any]:
        """How `GET /tools` shows it."""
        return {
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters.published,
            "scope": self.scope,
            "idempotent": self.idempotent,
            "onError": self.on_error,
        }


def tool(
    *,
    name: str,
    description: str,
    scope: str,
    idempotent: bool = False,
    on_error: str = OnError.RUN,
) -> Callable[[ToolFunction], Tool]:
    """Make a tool of `async def function(call: SqlCall | ToolCall, …typed parameters) -> result`.

    Args:
        name: what models call it by; letters, digits, `_` and `-`.
        description: what it does, for the model.
        scope: what a run must be granted to call it, as `thing:what`, like `notes:write`.
        idempotent: whether running it twice is the same as running it once.
        on_error: `run` (an error ends the run) or `model` (the model is told).

    Raises:
        SignatureError: where one of these, or the function, is not as it must be.
    """
    if not _NAME.fullmatch(name):
        raise SignatureError(f"a tool cannot be called {name!r}")
    if not _SCOPE.fullmatch(scope):
        raise SignatureError(f"the scope of {name} must look like 'notes:write', not {scope!r}")
    if not description.strip():
        raise SignatureError(f"{name} has no description")
    if on_error not in tuple(OnError):
        raise SignatureError(f"on_error of {name} must be 'run' or 'model', not {on_error!r}")

    def decorate(function: ToolFunction) -> Tool:
        try:
            return Tool(
                name=name,
                description=inspect.cleandoc(description),
                scope=scope,
                idempotent=idempotent,
                on_error=OnError(on_error),
                transactional=_asks_for_sql(function),
                parameters=parameters_of(function),
                function=function,
            )
        except SignatureError as error:
            raise SignatureError(f"the tool {name} cannot be offered: {error}") from None

    return decorate


def _asks_for_sql(function: ToolFunction) -> bool:
    if not inspect.iscoroutinefunction(function):
        raise SignatureError("it must be an async function")
    first = next(iter(inspect.signature(function).parameters), None)
    kind = get_type_hints(function).get(first or "")
    if kind not in (SqlCall, ToolCall):
        raise SignatureError("its first parameter must be a SqlCall or a ToolCall")
    return kind is SqlCall
