"""The runner's client of toolsvc: claims, commits, tools, heartbeat.

A commit is sent until it is answered, by whatever instance lives: it is the same bytes each time,
so toolsvc knows a repeat. While toolsvc or Postgres is away, runs wait.
"""

import asyncio
import itertools
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from uuid import UUID

import aiohttp
import orjson

from baton.trace import here
from shared.errors import BatonError, FencedError, RateLimitedError
from shared.protocol.codes import Code
from shared.protocol.record import (
    RUN_TOKEN_LIFE_S,
    RUNNER_PROOF,
    Catalogue,
    CatalogueAnswer,
    ClaimAnswer,
    ClaimRequest,
    Commit,
    CommitAnswer,
    Death,
)
from shared.telemetry.logs import get_logger
from shared.telemetry.tracecontext import HEADER, TRACE

log = get_logger(__name__)

#: One try; a black hole must not hold a run longer than this before another instance is asked.
TRY_S = 5.0
#: Whoever waits for a claim's answer holds an entry that others could hear of again.
CLAIM_S = 3.0
CONNECT_S = 1.0
#: toolsvc's server closes what has been idle for 5 s; a connection must not be reused just then.
KEEPALIVE_S = 4.0
MOST_CONNECTIONS = 64
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
#: Within this time a heartbeat brings a new token, if the claim still holds.
RENEWAL_S = 5.0
_AWAY = (502, 503, 504)
#: Refusals that say that this process may carry the run no more; whoever claims it goes on.
LOST = frozenset({Code.FENCED, Code.NOT_FOUND, Code.NOT_SIGNED_IN})


@dataclass(slots=True)
class RunToken:
    """What a claim shows at toolsvc; the heartbeat puts a newer one in its place."""

    value: str
    #: Seconds since the epoch, by the clock of toolsvc.
    expires: int
    #: When it came, by the clock that never jumps; the wall clocks of two machines may differ.
    since: float = field(default_factory=time.monotonic)

    def renew(self, value: str, expires: int) -> None:
        """Put a newer one in its place."""
        self.value, self.expires, self.since = value, expires, time.monotonic()

    @property
    def due(self) -> bool:
        """Whether the next heartbeat has to bring it: it has lived for half of its life."""
        return time.monotonic() - self.since > RUN_TOKEN_LIFE_S / 2

    def refused(self) -> None:
        """Somebody takes it for expired, whatever we think."""
        self.since = -math.inf


class Record:
    """HTTP to toolsvc, with the runner's key or a run's token.

    `secret` is this very process's, by which it alone speaks as the runner it is.
    """

    def __init__(self, urls: Sequence[str], key: str, *, secret: str) -> None:
        self._urls = [url.rstrip("/") for url in urls]
        self._current = 0
        self._key = key
        self._mine = {RUNNER_PROOF: secret}
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MOST_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Ask for a run, once: an unanswered claim is found again by toolsvc."""
        body = request.model_dump_json().encode()
        raw = await self._once("POST", "/claims", body, self._key, timeout_s=CLAIM_S)
        return ClaimAnswer.model_validate_json(raw)

    async def announce(self, runner: str, catalogue: Catalogue) -> CatalogueAnswer:
        """Say what this runner serves; the answer names the code that runs need."""
        body = catalogue.model_dump_json().encode()
        path = f"/runners/{runner}/catalogue"
        answer = await self._until_answered("POST", path, body, self._key, self._mine)
        return CatalogueAnswer.model_validate_json(answer)

    async def report_death(self, run: UUID, death: Death, *, secret: str) -> None:
        """Tell how the lone process of a run ended; `secret` is what that showed as its own."""
        body = death.model_dump_json().encode()
        proof = {RUNNER_PROOF: secret}
        await self._until_answered("POST", f"/runs/{run}/deaths", body, self._key, proof)

    async def leave(self, runner: str) -> None:
        """End the lease, so that others take over at once."""
        await self._once("DELETE", f"/runners/{runner}", b"", self._key, self._mine)

    async def commit(self, run: UUID, token: RunToken, commit: Commit) -> CommitAnswer:
        """Commit, however long it takes.

        Raises:
            FencedError: another claim has the thread.
            BatonError: toolsvc refuses the commit itself.
        """
        path = f"/runs/{run}/{'finish' if commit.end else 'steps'}"
        body = commit.model_dump_json(exclude_defaults=True).encode()
        try:
            raw = await self._until_answered("POST", path, body, token)
        except BatonError as error:
            if error.code is Code.FENCED:
                raise FencedError(commit.fence) from error
            raise
        return CommitAnswer.model_validate_json(raw)

    async def confirm(self, run: UUID, token: RunToken) -> None:
        """Ask whether the token's claim still is the thread's newest.

        Raises:
            BatonError: `fenced` when it is not.
        """
        await self._until_answered("GET", f"/runs/{run}/fence", b"", token)

    async def tools(self) -> list[dict[str, Any]]:
        """The catalogue of toolsvc's tools."""
        raw = await self._until_answered("GET", "/tools", b"", self._key)
        found: list[dict[str, Any]] = orjson.loads(raw)["data"]
        return found

    async def call_tool(
        self, name: str, arguments: Any, *, token: RunToken, call_id: str, scope: str
    ) -> Any:
        """Run a tool of toolsvc; the call's id makes repeats harmless.

        Raises:
            BatonError: the tool's own error; `details["onError"]` says whom it is for.
        """
        raw = await self._until_answered(
            "POST",
            f"/tools/{name}",
            orjson.dumps({"arguments": arguments}),
            token,
            {"idempotency-key": call_id, "baton-scope": quote(scope, safe="/:#")},
            timeout_s=120,
        )
        return orjson.loads(raw)["result"]

    async def put_file(self, name: str, content: bytes, *, token: RunToken, scope: str) -> str:
        """Keep a file that agent code has made; the text that stands for it.

        Raises:
            BatonError: `bad_input` or `too_large`.
        """
        headers = {
            "content-type": "application/octet-stream",
            "baton-scope": quote(scope, safe="/:#"),
            "baton-name": quote(name, safe=""),
        }
        raw = await self._until_answered("POST", "/files", content, token, headers)
        link: str = orjson.loads(raw)["link"]
        return link

    async def file(self, token: RunToken, id_: str) -> bytes:
        """The bytes of a file of the run's thread.

        Raises:
            BatonError: `not_found`.
        """
        return await self._until_answered("GET", f"/files/{quote(id_, safe='')}", b"", token)

    async def _until_answered(
        self,
        method: str,
        path: str,
        body: bytes,
        key: str | RunToken,
        headers: dict[str, str] | None = None,
        *,
        timeout_s: float = TRY_S,
    ) -> bytes:
        pause, refused_at = FIRST_PAUSE_S, None
        for attempt in itertools.count(1):
            shown = key.value if isinstance(key, RunToken) else key
            try:
                return await self._once(method, path, body, shown, headers, timeout_s=timeout_s)
            except AwayError as error:
                log.warning("toolsvc is away", path=path, attempt=attempt, error=repr(error))
            except RateLimitedError as error:  # of calls of tools: this one's turn comes
                log.info("a call waits", path=path, why=error.message)
            except BatonError as error:
                # Its token may have run out while toolsvc was away; the next heartbeat renews it.
                refused_at = refused_at or time.monotonic()
                late = time.monotonic() - refused_at > RENEWAL_S
                if late or isinstance(key, str) or error.code is not Code.NOT_SIGNED_IN:
                    raise
                # Or a clock has jumped: until it is renewed, another instance may still take it.
                key.refused()
                self._current += 1
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE_S)
        raise AssertionError("unreachable")

    async def _once(
        self,
        method: str,
        path: str,
        body: bytes,
        key: str,
        headers: dict[str, str] | None = None,
        *,
        timeout_s: float = TRY_S,
    ) -> bytes:
        url = self._urls[self._current % len(self._urls)] + path
        sent = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        if (trace := TRACE.get()) is not None:
            sent[HEADER] = here(trace).header
        limit = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        try:
            async with self._http.request(
                method, url, data=body or None, headers=sent | (headers or {}), timeout=limit
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._current += 1
            raise AwayError(repr(error)) from error
        if answer.ok:
            return content
        refused = _refused(answer.status, content)
        if answer.status in _AWAY and "onError" not in refused.details:
            self._current += 1
            raise AwayError(str(refused))
        raise refused


class AwayError(Exception):
    """toolsvc cannot be reached, or answered that it cannot work now."""


def _refused(status: int, content: bytes) -> BatonError:
    try:
        error = orjson.loads(content)["error"]
        code, message = error["code"], error["message"]
        details = {key: error[key] for key in ("onError",) if key in error}
    except (ValueError, KeyError, TypeError):
        return BatonError(Code.INTERNAL, f"toolsvc answered {status}.")
    if code == Code.RATE_LIMITED and "onError" not in details:
        return RateLimitedError(message, retry_after_s=1)
    known = Code(code) if code in set(Code) else Code.TOOL_FAILED
    refused = BatonError(known, message, **details)
    refused.details["code"] = code
    return refused
