"""MCP servers of agents' code: who connects them, and who closes them.

An author only names them in `mcp_servers`. Each run has instances of its own, made again as the
author made them, connected when a model is first offered their tools and closed with the run,
however that ends. A server that the file names in `shared_mcp` is connected once for all runs of
that code. One that the author's own code has connected is left to that code.

Connections are entered and left by one task each, as anyio wants it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from contextvars import Context, ContextVar
from functools import partial
from typing import Any

from agents.exceptions import UserError
from agents.mcp import MCPServer
from anyio import BrokenResourceError, ClosedResourceError, EndOfStream
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, CallToolResult

from runner.home import Home
from runner.theirs import storable, theirs
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.telemetry.logs import get_logger
from shared.telemetry.redact import redact

log = get_logger(__name__)

#: A server that is not there by then is not waited for.
CONNECT_S = 30.0
CLOSE_S = 10.0
#: Of what a server says when it fails.
MOST_SAID = 500

#: Connects a server anew, where nobody else has.
Again = Callable[[], Awaitable[MCPServer]]

#: Attributes of servers: how it was made; and, of a shared one, its present connection.
_MADE, _SHARED = "_baton_made", "_baton_shared"


def remember_making() -> None:
    """Let every server that is made in this process know how, so that it can be made again."""
    if "__new__" in vars(MCPServer):
        return

    def make(cls: type[MCPServer], *args: Any, **kwargs: Any) -> MCPServer:
        made = super(MCPServer, cls).__new__(cls)
        setattr(made, _MADE, (args, kwargs))
        return made

    MCPServer.__new__ = make  # type: ignore[assignment]


def share(servers: Iterable[MCPServer]) -> None:
    """Have all runs use the same connection of these."""
    for server in servers:
        setattr(server, _SHARED, None)


def close_shared(servers: Iterable[MCPServer]) -> None:
    """Close them: nobody uses the code any more. From any thread."""
    for server in servers:
        held: _Held | None = getattr(server, _SHARED)
        if held is not None:
            held.leave()


class Servers:
    """Those of one run."""

    def __init__(self, home: Home) -> None:
        self._home = home
        #: By the identity of the author's own, which is kept so that nothing else gets it.
        self._own: dict[int, tuple[MCPServer, _Held]] = {}

    async def of(self, servers: Sequence[MCPServer]) -> list[MCPServer]:
        """Connected ones in their place.

        Raises:
            BatonError: `mcp_unavailable`.
        """
        return [
            one if _is_connected(one) else await self._home.run(self._connected, one)
            for one in servers
        ]

    async def _connected(self, server: MCPServer) -> MCPServer:
        shared = hasattr(server, _SHARED)
        _, own = self._own.get(id(server), (server, None))
        held = getattr(server, _SHARED) if shared else own
        if held is None or held.over:
            args, kwargs = getattr(server, _MADE)
            with theirs():
                made = type(server)(*args, **kwargs)
            held = _Held(made, self._home, partial(self._connected, server))
            if shared:
                setattr(server, _SHARED, held)
            else:
                self._own[id(server)] = server, held
        return await held.connected()

    def close(self) -> None:
        """Have the run's own closed; nobody waits for servers that take their time."""
        for _, held in self._own.values():
            held.leave()


class _Held:
    """One connection, and the task that it belongs to."""

    def __init__(self, server: Any, home: Home, again: Again) -> None:
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[MCPServer] = self._loop.create_future()
        self._ready.add_done_callback(lambda one: one.cancelled() or one.exception())
        self._left = asyncio.Event()
        self._lost = False
        _come_home(server, home, self, again)
        # A shared one outlives the run that needs it first, and keeps nothing of that.
        self._task = asyncio.create_task(self._hold(), name=f"mcp {server.name}", context=Context())

    @property
    def over(self) -> bool:
        """Whether it is of no use any more."""
        return self._lost or self._left.is_set() or self._task.done()

    async def connected(self) -> MCPServer:
        """The server, as soon as it can be used."""
        return await asyncio.shield(self._ready)

    def leave(self) -> None:
        """Let it be closed, by its own task; who asks from now on gets another one."""
        self._lost = True
        with suppress(RuntimeError):  # the process ends, and its loop has
            self._loop.call_soon_threadsafe(self._left.set)

    async def _hold(self) -> None:
        server = self._server
        try:
            with theirs():
                async with asyncio.timeout(CONNECT_S):
                    await server.connect()
            self._ready.set_result(server)
            await self._left.wait()
        except Exception as error:  # noqa: BLE001 - others' code may raise anything
            self._ready.set_exception(_unavailable(server, error))
        finally:
            self._ready.cancel()
            try:
                with theirs():
                    async with asyncio.timeout(CLOSE_S):
                        await server.cleanup()
            except Exception as error:  # noqa: BLE001
                log.warning("an MCP server was not closed in order", error=_said(error))


def _come_home(server: Any, home: Home, held: _Held, again: Again) -> None:
    """Calls from other loops come to the one of the connection.

    One that is lost is left: this call fails, and the next one finds another connection.
    """
    list_tools, call_tool = server.list_tools, server.call_tool

    async def listed(*args: Any, **kwargs: Any) -> Any:
        try:
            return await home.run(list_tools, *args, **kwargs)
        except Exception as error:
            held.leave()
            raise _unavailable(server, error) from error

    async def called(*args: Any, **kwargs: Any) -> Any:
        if held.over:
            connected: Any = await home.run(again)
            return await connected.call_tool(*args, **kwargs)
        try:
            return await home.run(call_tool, *args, **kwargs)
        except Exception as error:
            if not _tells_of_loss(error):
                raise
            held.leave()
            log.warning("an MCP server was lost in a call", server=server.name, error=_said(error))
            return _lost_call(server.name)

    server.list_tools, server.call_tool = listed, called


def _lost_call(name: str) -> CallToolResult:
    """What the model is told: a result that is an error, for the SDK hides what is raised."""
    said = (
        f"The connection to the MCP server {name!r} was lost in the middle of this call; "
        "whether it was carried out is not known. The next call connects anew."
    )
    content = [{"type": "text", "text": said}]
    return CallToolResult.model_validate({"content": content, "isError": True})


def _tells_of_loss(error: Exception) -> bool:
    """Whether the connection is gone, other than where a server answers with an error."""
    if isinstance(error, UserError):  # of the SDK: it has a cause, or tells it, where HTTP failed
        return error.__cause__ is not None or "Connection lost" in str(error)
    if isinstance(error, MCPError):
        return error.code == CONNECTION_CLOSED and error.message == "Connection closed"
    return isinstance(error, (ClosedResourceError, BrokenResourceError, EndOfStream))


def _is_connected(server: Any) -> bool:
    """Whether the author's own code has connected it."""
    return getattr(server, "session", None) is not None


def _unavailable(server: MCPServer, error: BaseException) -> BatonError:
    message = f"The MCP server {server.name!r} cannot be used: {_said(error)}"
    return BatonError(Code.MCP_UNAVAILABLE, redact(str(storable(message))))


def _said(error: BaseException) -> str:
    said = str(error) or ("it does not answer" if isinstance(error, TimeoutError) else "")
    return redact(str(storable(f"{type(error).__name__}: {said}")))[:MOST_SAID]


#: Those of the run that code belongs to.
SERVERS: ContextVar[Servers] = ContextVar("baton_mcp_servers")
