"""`POST /agui/{agent}`: a run for a client that speaks AG-UI over server-sent events.

The body is AG-UI's RunAgentInput, the answer the run's events, each under its cursor. Who loses the
connection stops nothing, and goes on by sending the same input with `Last-Event-ID`.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial
from typing import Annotated, Any

from ag_ui.core import RunAgentInput
from fastapi import APIRouter, Body, Header, Path, Request
from starlette.responses import Response

from gateway.accept import Accepted, accept_run
from gateway.access import visible
from gateway.agui.exact import ExactFollowing
from gateway.agui.lines import line
from gateway.agui.replay import Replay, replay_of
from gateway.agui.told import told_by
from gateway.api.routing import SignedIn, StrictRoute, WithServices
from gateway.auth.caller import Caller
from gateway.client_tools import Tool, checked_tools, takes_client_tools
from gateway.following import Followers, Happening
from gateway.intake import run_input
from gateway.openai.serving import KEEP_ALIVE, KEEP_ALIVE_S, begun, site_of
from gateway.services import Services
from shared.db.engine import POSTGRES
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import new_thread_id
from shared.protocol.position import Position, parse_position
from shared.telemetry.logs import get_logger
from shared.telemetry.redact import redact
from shared.web.errors import as_baton_error

log = get_logger(__name__)
router = APIRouter(prefix="/agui", route_class=StrictRoute, include_in_schema=False)

_LAST = ("RUN_FINISHED", "RUN_ERROR")

Agent = Annotated[str, Path()]
Input = Annotated[dict[str, Any], Body()]
LastEventId = Annotated[str | None, Header(alias="Last-Event-ID")]


@router.post("/{agent:path}/connect")
async def connect(
    agent: Agent, body: Input, request: Request, caller: SignedIn, services: WithServices
) -> Response:
    """A thread as it stands, as a run of its own: a snapshot, then what the present run says."""
    sent = run_input(str(body.get("threadId", "")), body)
    replay = await replay_of(services, caller, agent=agent, thread=sent.thread_id)
    served = _served(request, caller, sent)
    return await begun(request, served.replayed(replay), {"baton-thread": sent.thread_id})


@router.post("/{agent:path}")
async def run(
    agent: Agent,
    body: Input,
    request: Request,
    caller: SignedIn,
    services: WithServices,
    last_event_id: LastEventId = None,
) -> Response:
    """Start a run, or join the one of this `runId`, and tell its events until it ends."""
    given = run_input(str(body.get("threadId", new_thread_id())), body)
    after = _cursor(last_event_id)
    told = await told_by(services, caller, given)
    sent = told.input
    accepted = await accept_run(
        services,
        caller,
        thread_id=sent.thread_id,
        agent=agent,
        input=sent,
        tools=await _tools(services, caller, agent, sent),
        site=site_of(request, services),
    )
    served = _served(request, caller, sent, told=told.calls)
    headers = {"baton-run": accepted.run_id, "baton-thread": accepted.thread_id}
    return await begun(request, served.run(accepted, after), headers)


def _served(
    request: Request,
    caller: Caller,
    sent: RunAgentInput,
    *,
    told: frozenset[str] = frozenset(),
) -> "_Served":
    state, older = request.app.state, sent.protocol_version is None
    site = site_of(request, state.services)
    return _Served(state.followers, caller, site=site, older=older, told=told)


async def _tools(
    services: Services, caller: Caller, agent: str, sent: RunAgentInput
) -> tuple[Tool, ...]:
    """The client's own, where the agent takes them; else they are passed over."""
    about = (await visible(services, caller)).find(agent)
    if about is None or not takes_client_tools(about):
        return ()
    fields = {"name", "description", "parameters"}
    tools = [one.model_dump(mode="json", include=fields) for one in sent.tools or ()]
    return checked_tools([{k: v for k, v in one.items() if v is not None} for one in tools])


def _cursor(given: str | None) -> Position | None:
    if given is None:
        return None
    if (position := parse_position(given)) is None:
        raise BatonError(Code.BAD_CURSOR)
    return position


class _Served:
    """What one client is told; it knows the results of the calls that it has `told` itself."""

    def __init__(
        self,
        followers: Followers,
        caller: Caller,
        *,
        site: str,
        older: bool,
        told: frozenset[str] = frozenset(),
    ) -> None:
        self._followers, self._caller = followers, caller
        self._site, self._older, self._told = site, older, told

    async def run(self, accepted: Accepted, after: Position | None = None) -> AsyncGenerator[bytes]:
        """A run's events. What goes wrong before the first byte is raised; later the stream is cut.

        A stream without a last event is one that was cut: no client takes the run for over.
        """
        said = False
        try:
            async for happened in self._happenings(accepted, after):
                news = (one for one in happened if not self._knows(one.event))
                lines = b"".join(line(one, older=self._older) for one in news)
                yield lines or KEEP_ALIVE
                said = True
        except Exception as error:
            if not said:
                raise
            told = as_baton_error(error, (POSTGRES,))
            if told.code is Code.DECISION_NEEDED:  # nothing is lost, and nothing comes
                message = redact(told.message)
                failed = {"type": "RUN_ERROR", "message": message, "code": told.code}
                yield line(Happening(failed), older=self._older)
            unexpected = error if told.code is Code.INTERNAL else None
            log.info("a stream was cut", code=told.code, exc_info=unexpected)

    def _knows(self, event: dict[str, Any]) -> bool:
        return event["type"] == "TOOL_CALL_RESULT" and event["toolCallId"] in self._told

    async def replayed(self, replay: Replay) -> AsyncGenerator[bytes]:
        """A thread as it stands; the present run goes on behind that."""
        if replay.live is None:
            yield b"".join(line(Happening(one), older=self._older) for one in replay.whole())
            return
        snapshot = line(Happening(replay.snapshot), older=self._older)
        async for lines in self.run(replay.live):
            if snapshot and lines != KEEP_ALIVE:  # behind RUN_STARTED, which comes alone
                first, end, rest = lines.partition(b"\n\n")
                lines, snapshot = first + end + snapshot + rest, b""
            yield lines

    async def _happenings(
        self, accepted: Accepted, after: Position | None
    ) -> AsyncIterator[list[Happening]]:
        kind = partial(ExactFollowing, after=after)
        follow = self._followers.following(self._caller, accepted, site=self._site, kind=kind)
        async with follow as following:
            while True:
                happened = await following.next(KEEP_ALIVE_S)
                yield happened or []
                if happened and happened[-1].event["type"] in _LAST:
                    return
