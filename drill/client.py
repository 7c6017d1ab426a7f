"""A client: a person with one conversation, over sockets that break, who never gives up."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import websockets
from websockets.asyncio.client import ClientConnection

from drill.network import Link
from drill.records import Log, Request, Restated, Seen, Watched
from drill.talk import AGENT, Ask
from shared.protocol.position import START, Position, parse_position

TERMINAL = ("RUN_FINISHED", "RUN_ERROR")
LIVE = ("queued", "running")

TICK_S = 0.05
#: A frame that was refused for the moment is sent again after this.
AGAIN_S = 0.3
PING_EVERY_S = 5.0
#: Without an answer for so long, a client takes its connection for dead. Longer than any stall.
PATIENCE_S = 12.0
OPEN_WITHIN_S = 10.0
AWAY = (OSError, TimeoutError, websockets.WebSocketException)


class _LeaveError(Exception):
    """This connection is of no use any more."""


@dataclass(slots=True, kw_only=True)
class Client:
    """Says what its conversation says, and writes down what it gets."""

    record: Watched
    link: Link
    key: str
    gateways: tuple[str, ...]  #: base URLs without the faulty network, for REST
    dice: random.Random
    began: float  #: when the plan's clock began, by `time`
    log: Log
    agent: str = AGENT
    _cursor: Position = START
    _current: str | None = None
    _pending: dict[str, Request] = field(default_factory=dict)
    _sent_at: dict[str, float] = field(default_factory=dict)
    _started_at: dict[str, float] = field(default_factory=dict)
    _doubtful: set[str] = field(default_factory=set)
    _count: int = 0
    _heard: float = 0.0

    @property
    def done(self) -> bool:
        """Whether every message was sent and has come to its end."""
        return all(ask.run in self.record.ended for ask in self.record.asks)

    async def converse(self, until: asyncio.Event) -> None:
        """Go through the conversation; `until` ends it early."""
        while not self.done and not until.is_set():
            try:
                await self._connected(until)
            except AWAY as error:
                self._note("away", why=type(error).__name__)
            except _LeaveError as reason:
                self._note("leaves", why=str(reason))
            await asyncio.sleep(self.dice.uniform(0.05, 0.5))

    async def _connected(self, until: asyncio.Event) -> None:
        request = self._request("open", None)
        port = self.dice.choice(self.link.ports)
        try:
            async with websockets.connect(
                f"ws://127.0.0.1:{port}/realtime",
                subprotocols=[websockets.Subprotocol("baton.v1")],
                additional_headers={"Authorization": f"Bearer {self.key}"},
                open_timeout=OPEN_WITHIN_S,
                close_timeout=1,
                ping_interval=None,
                compression=None,
                max_size=None,
                proxy=None,
            ) as socket:
                self._over(request, "ok")
                await self._use(socket, until)
        finally:
            for one in (request, *self._pending.values()):
                self._over(one, None)
            self._pending.clear()

    async def _use(self, socket: ClientConnection, until: asyncio.Event) -> None:
        self._sent_at.clear()  # what has no answer yet is sent again
        self._heard = time.time()
        if self._cursor > START:
            await self._send(
                socket, "subscribe", None, threadId=self.record.thread, after=str(self._cursor)
            )
        speaking = asyncio.create_task(self._speak(socket, until), name="speak")
        try:
            async for text in socket:
                self._heard = time.time()
                self._hear(json.loads(text))
                await self._ask_about_doubtful()
        finally:
            speaking.cancel()
            await asyncio.gather(speaking, return_exceptions=True)
            self._note("closed", code=socket.close_code)

    async def _speak(self, socket: ClientConnection, until: asyncio.Event) -> None:
        pinged = time.time()
        with suppress(*AWAY):
            while not until.is_set() and not self.done:
                now = time.time()
                for ask in self._due(now):
                    self._sent_at[ask.run] = now
                    await self._send(
                        socket, "run", ask.run, agent=self.agent, input=self._input(ask)
                    )
                await self._cancel(socket, now)
                if now - pinged > PING_EVERY_S:
                    pinged = now
                    await self._send(socket, "ping", None)
                if now - self._heard > PATIENCE_S:
                    self._note("leaves", why="silence")
                    break
                await asyncio.sleep(TICK_S)
            await socket.close()

    def _due(self, now: float) -> list[Ask]:
        """The messages to send now: new ones in their order, and those without an answer."""
        found, record = [], self.record
        for number, ask in enumerate(record.asks):
            if ask.run in record.ended:
                continue
            # Without a cursor the op `run` subscribes too, so it is repeated on each connection.
            known = ask.run in record.accepted and self._cursor > START
            fresh = now - self._sent_at.get(ask.run, 0.0) > AGAIN_S
            waiting = any(one.run == ask.run and one.op == "run" for one in self._pending.values())
            if not known and not waiting and fresh and self._may_be_sent(number, now):
                if ask.run in record.accepted and ask.run in self._sent_at:
                    continue
                found.append(ask)
        return found

    def _may_be_sent(self, number: int, now: float) -> bool:
        asks, record = self.record.asks, self.record
        ask = asks[number]
        if now < self.began + ask.at_s:
            return False
        before = [one.run for one in asks[:number]]
        if ask.queued:
            return all(run in record.accepted or run in record.ended for run in before)
        return all(run in record.ended for run in before)

    async def _cancel(self, socket: ClientConnection, now: float) -> None:
        for ask in self.record.asks:
            started = self._started_at.get(ask.run)
            if ask.cancel_after_s is None or started is None or ask.run in self.record.ended:
                continue
            sent = f"cancel {ask.run}"
            if now > started + ask.cancel_after_s and now - self._sent_at.get(sent, 0.0) > 1:
                self._sent_at[sent] = now
                self.record.cancels.add(ask.run)
                await self._send(
                    socket, "cancel", ask.run, threadId=self.record.thread, runId=ask.run
                )

    def _input(self, ask: Ask) -> dict[str, Any]:
        message = {"id": f"msg_{ask.mark}", "role": "user", "content": ask.text}
        return {"threadId": self.record.thread, "runId": ask.run, "messages": [message]}

    async def _send(
        self, socket: ClientConnection, op: str, run: str | None, **fields: Any
    ) -> None:
        self._count += 1
        id_ = f"{op}{self._count}"
        self._pending[id_] = self._request(op, run)
        self._note("sent", op=op, run=run, id=id_)
        await socket.send(json.dumps({"op": op, "id": id_, **fields}))

    def _hear(self, frame: dict[str, Any]) -> None:
        match frame["op"]:
            case "event":
                self._event(frame)
            case "reset":
                self._reset(frame)
            case "ack" | "pong" | "error":
                self._answer(frame)
            case _:
                pass

    def _answer(self, frame: dict[str, Any]) -> None:
        request = self._pending.pop(frame.get("id", ""), None)
        self._note("answer", frame=frame)
        if request is None:
            return
        failed = frame["op"] == "error"
        self._over(request, frame["code"] if failed else "ok")
        request.retryable = not failed or bool(frame["retryable"])
        if request.op == "run" and request.run:
            if not failed:
                self.record.accepted.setdefault(request.run, time.time())
            elif not request.retryable:
                self.record.ended[request.run] = time.time()
        if request.op == "subscribe" and failed:
            if not request.retryable:
                self._cursor = START
            raise _LeaveError(f"subscribe: {frame['code']}")

    def _event(self, frame: dict[str, Any]) -> None:
        position = parse_position(frame["id"]) or START
        event = frame["event"]
        self.record.frames.append(Seen(at=time.time(), position=position, event=event))
        self._note("event", id=frame["id"], event=event)
        if position <= self._cursor:
            return  # the judge will say what it thinks of that
        self._cursor = position
        if event["type"] == "RUN_STARTED":
            self._current = event["runId"]
            self._started_at.setdefault(event["runId"], time.time())
        if event["type"] in TERMINAL:
            run = event.get("runId") or self._current
            if run:
                self.record.ended.setdefault(run, time.time())

    def _reset(self, frame: dict[str, Any]) -> None:
        cursor = parse_position(frame["cursor"]) or START
        self.record.frames.append(Restated(at=time.time(), cursor=cursor))
        self._note("reset", cursor=frame["cursor"], run=frame["run"])
        self._cursor = cursor
        self._current = None
        self._doubtful = set(self.record.accepted) - set(self.record.ended)

    async def _ask_about_doubtful(self) -> None:
        """After a reset, a run may have ended behind the cursor: read it again by REST."""
        for run in sorted(self._doubtful):
            async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
                answer = None
                with suppress(httpx.HTTPError):
                    answer = await http.get(
                        f"{self.dice.choice(self.gateways)}/api/runs/{run}",
                        headers={"Authorization": f"Bearer {self.key}"},
                    )
            if answer is None or answer.status_code != httpx.codes.OK:
                return  # the next frame asks again
            self._doubtful.discard(run)
            if answer.json()["status"] not in LIVE:
                self._note("told", run=run, status=answer.json()["status"])
                self.record.told.add(run)
                self.record.ended.setdefault(run, time.time())

    def _request(self, op: str, run: str | None) -> Request:
        request = Request(op=op, run=run, asked_at=time.time())
        self.record.requests.append(request)
        return request

    def _over(self, request: Request, code: str | None) -> None:
        if request.over_at is None:
            request.over_at, request.code = time.time(), code

    def _note(self, what: str, **fields: Any) -> None:
        self.log.add(what, client=self.record.client, **fields)
