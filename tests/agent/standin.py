"""A gateway that answers what a test tells it to, over real HTTP and real sockets."""

import asyncio
import socket
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from shared.protocol.codes import MEANINGS, Code

KEY = "bt_standin_key_that_nobody_may_see"
METHODS = ["GET", "POST", "PATCH", "DELETE"]
SOME_TIME = "2026-01-02T03:04:05.600000Z"
LATER = "2026-01-02T03:04:08.900000Z"


@dataclass(frozen=True)
class Asked:
    """One request as it came."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    key: str | None


class Talk:
    """One connection of `/realtime`, from the gateway's side."""

    def __init__(self, websocket: WebSocket, standin: "StandIn") -> None:
        self._websocket, self._standin = websocket, standin

    async def hear(self) -> dict[str, Any]:
        frame: dict[str, Any] = await self._websocket.receive_json()
        self._standin.frames.append(frame)
        return frame

    async def say(self, op: str, **fields: Any) -> None:
        await self._websocket.send_json({"op": op} | fields)

    async def say_raw(self, text: str) -> None:
        await self._websocket.send_text(text)

    async def welcome(self, version: int = 1) -> None:
        await self.say("welcome", version=version, heartbeatMs=20_000, maxFrameBytes=1_048_576)

    async def event(self, thread: str, id_: str, event: dict[str, Any]) -> None:
        await self.say("event", threadId=thread, id=id_, event=event)

    async def begin(self) -> dict[str, Any]:
        """Welcome, and take the first frame; a `run` is accepted."""
        await self.welcome()
        frame = await self.hear()
        if frame["op"] == "run":
            run = frame["input"]["runId"]
            await self.say("ack", id=frame["id"], runId=run, queued=False)
        else:
            await self.say("ack", id=frame["id"])
        return frame

    async def close(self, code: int = 1012) -> None:
        await self._websocket.close(code)

    async def until_hung_up(self) -> None:
        """Read and throw away until the client is gone."""
        while (await self._websocket.receive())["type"] != "websocket.disconnect":
            pass

    def told(self, request: str) -> asyncio.Future[None]:
        """Done as soon as somebody asks for this over HTTP."""
        self._standin.awaited[request] = asyncio.get_running_loop().create_future()
        return self._standin.awaited[request]


Script = Callable[[Talk], Awaitable[None]]
Answer = tuple[int, Any] | Callable[[Asked], tuple[int, Any]]


@dataclass
class StandIn:
    """What it answers, and what it was asked."""

    url: str = ""
    answers: dict[str, Answer] = field(default_factory=dict)
    downloads: dict[str, bytes] = field(default_factory=dict)
    scripts: deque[Script] = field(default_factory=deque)
    asked: list[Asked] = field(default_factory=list)
    frames: list[dict[str, Any]] = field(default_factory=list)
    broken: list[BaseException] = field(default_factory=list)
    awaited: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    hanging: set[str] = field(default_factory=set)  #: what is never answered while the test lasts
    over: asyncio.Event = field(default_factory=asyncio.Event)
    loop: asyncio.AbstractEventLoop | None = None

    def reset(self) -> None:
        if self.loop is not None:
            self.loop.call_soon_threadsafe(self.over.set)
        self.over = asyncio.Event()
        self.hanging.clear()
        self.awaited.clear()
        self.downloads.clear()
        for each in (self.scripts, self.asked, self.frames, self.broken):
            each.clear()
        self.answers = {
            "GET /auth/ways": (200, {"dev": False, "issuer": False}),
            "GET /api/me": (200, me("ada@example.com")),
            "GET /api/agents": (200, page(agent("Assistant"))),
        }

    def paths(self) -> list[str]:
        return [f"{one.method} {one.path}" for one in self.asked]

    def be_in_dev_mode(self, key: str = KEY) -> None:
        """Let everybody in, and make keys."""
        self.answers["GET /auth/ways"] = (200, {"dev": True, "issuer": False})
        self.answers["POST /auth/dev-login"] = lambda asked: (200, me(asked.body["email"]))
        self.answers["POST /auth/logout"] = (204, None)
        self.answers["POST /api/keys"] = (201, made_key(key))

    async def answer(self, request: Request) -> Response:
        self.loop = asyncio.get_running_loop()
        sent = await request.body()
        is_json = request.headers.get("content-type", "") == "application/json"
        body = await request.json() if sent and is_json else sent or None
        given = request.headers.get("authorization")
        key = given.removeprefix("Bearer ") if given else None
        asked = Asked(request.method, request.url.path, dict(request.query_params), body, key)
        self.asked.append(asked)
        if awaited := self.awaited.pop(f"{asked.method} {asked.path}", None):
            awaited.set_result(None)
        if f"{asked.method} {asked.path}" in self.hanging:
            await self.over.wait()
        if (download := self.downloads.get(asked.path)) is not None:
            return Response(download, media_type="application/x-ndjson")
        found = self.answers.get(f"{asked.method} {asked.path}", refusal(Code.NOT_FOUND))
        status, content = found(asked) if callable(found) else found
        if isinstance(content, str):
            return Response(content, status)
        return Response(status_code=status) if content is None else JSONResponse(content, status)

    async def talk(self, websocket: WebSocket) -> None:
        await websocket.accept(subprotocol="baton.v1")
        try:
            await self.scripts.popleft()(Talk(websocket, self))
        except BaseException as error:
            self.broken.append(error)
            raise


def refusal(code: Code, message: str | None = None) -> tuple[int, Any]:
    meaning = MEANINGS[code]
    told = {"code": code, "message": message or meaning.text, "requestId": "req_1"}
    return meaning.status, {"error": told}


def page(*items: Any, following: str | None = None) -> dict[str, Any]:
    return {"data": list(items), "next": following}


def me(email: str, *, admin: bool = False) -> dict[str, Any]:
    return {"id": "u1", "email": email, "admin": admin, "displayName": None}


def agent(name: str) -> dict[str, Any]:
    inside = {"multiAgent": {"subAgents": [{"name": "Researcher"}]}}
    return {"name": name, "title": name, "description": "Helps.", "capabilities": inside}


def made_key(key: str, email: str = "ada@localhost", id_: str = "k1") -> dict[str, Any]:
    return listed_key(email, id_) | {"shown": key[:9], "key": key}


def listed_key(email: str, id_: str, shown: str = "bt_AAAAAA") -> dict[str, Any]:
    return {
        "id": id_,
        "name": "laptop",
        "shown": shown,
        "email": email,
        "createdAt": SOME_TIME,
        "expiresAt": None,
        "revokedAt": None,
        "usedAt": None,
        "cancelOnDisconnect": False,
    }


def thread(id_: str, title: str | None = None) -> dict[str, Any]:
    times = {"createdAt": SOME_TIME, "updatedAt": LATER}
    return {"id": id_, "agent": "Assistant", "title": title, "asks": False} | times


def run(id_: str, status: str, thread_id: str = "thr_1") -> dict[str, Any]:
    ended = None if status in ("queued", "running") else LATER
    return {
        "id": id_,
        "threadId": thread_id,
        "parentRunId": None,
        "resumedBy": None,
        "deaths": 0,
        "agent": "Assistant",
        "status": status,
        "queued": False,
        "error": None,
        "usage": [{"model": "demo", "inputTokens": 1200, "outputTokens": 34}],
        "traceId": "trace_1",
        "createdAt": SOME_TIME,
        "claimedAt": SOME_TIME,
        "startedAt": SOME_TIME,
        "endedAt": ended,
        "cancelRequestedAt": None,
        "links": {},
    }


def started(thread_id: str, run_id: str) -> dict[str, Any]:
    return {"type": "RUN_STARTED", "threadId": thread_id, "runId": run_id}


def text(delta: str, message: str = "msg_1") -> dict[str, Any]:
    return {
        "type": "TEXT_MESSAGE_CHUNK",
        "messageId": message,
        "role": "assistant",
        "delta": delta,
    }


def finished(thread_id: str, run_id: str, outcome: str = "success") -> dict[str, Any]:
    ids = {"threadId": thread_id, "runId": run_id}
    return {"type": "RUN_FINISHED", **ids, "outcome": {"type": outcome}}


@contextmanager
def serving() -> Iterator[StandIn]:
    """Serve from a thread for the block."""
    standin = StandIn()
    routes = [
        WebSocketRoute("/realtime", standin.talk),
        Route("/{path:path}", standin.answer, methods=METHODS),
    ]
    # A command that was cut off in the middle of an answer leaves it behind.
    config = uvicorn.Config(
        Starlette(routes=routes), ws="wsproto", log_config=None, timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # from now on connections wait until the server takes them
        standin.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        running = threading.Thread(target=server.run, args=([listening],), name="stand-in")
        running.start()
        try:
            yield standin
        finally:
            server.should_exit = True
            running.join()


def ids(frame: dict[str, Any]) -> tuple[str, str]:
    """Thread and run that a `run` frame asks for."""
    return frame["input"]["threadId"], frame["input"]["runId"]


async def answer(talk: Talk, frame: dict[str, Any], *deltas: str) -> None:
    """A run from its beginning to its end."""
    thread_id, run_id = ids(frame)
    await talk.event(thread_id, "1-1", started(thread_id, run_id))
    for seq, delta in enumerate(deltas, 2):
        await talk.event(thread_id, f"1-{seq}", text(delta))
    await talk.event(thread_id, f"1-{len(deltas) + 2}", finished(thread_id, run_id))
