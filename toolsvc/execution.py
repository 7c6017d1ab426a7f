"""One tool call from claim to outcome.

A tool that works on our Postgres runs inside the claim's own transaction: all of it is stored, or
nothing. Should the commit's answer be lost, the same call finds out: equal calls wait for each
other on the transaction's lock. Any other tool runs between two transactions; should this process
die in between, the claim's lease ends and the outcome is unknown.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, assert_never

import httpx
from pydantic_core import PydanticSerializationError, to_json
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from shared.db.engine import is_away
from shared.errors import BatonError
from shared.media import MAX_FILE_BYTES
from shared.protocol.codes import Code
from shared.settings import ToolsvcSettings
from shared.telemetry.logs import get_logger
from shared.tokens import RunClaims
from toolsvc.effects import Claimant, EffectKey, Found, Outcome, Standing, claim, settle
from toolsvc.files import MadeFiles, NewFile, cut, file_of
from toolsvc.tool import SqlCall, Tool, ToolCall, ToolError
from toolsvc.tool_http import http_client

log = get_logger(__name__)

#: A tool inside a transaction holds its thread's row, and with it everything that would take over
#: or cancel the run; longer than this it may not.
TRANSACTION_LIMIT_S = 5.0
#: The claim outlives the tool's time by this, to write the outcome down also over a short outage.
LEASE_MARGIN_S = 10.0

_SHOWN_TO_TOOLS = (
    *("user", "run", "root", "thread", "public_run", "public_thread"),
    *("project", "agent", "scopes"),
)
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.25


class _FailedInTransaction(Exception):  # noqa: N818 - it carries an outcome
    """Undoes what a tool did before it failed."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Executor:
    """Runs tools for this process, within limits."""

    engine: AsyncEngine
    #: To other services, for tools.
    connections: httpx.AsyncBaseTransport
    instance: str
    timeout_s: float
    max_result_bytes: int

    async def carry_out(
        self,
        tool: Tool,
        claims: RunClaims,
        key: EffectKey,
        *,
        given: str,
        arguments: Mapping[str, Any],
    ) -> Found:
        """Run the tool, or find what became of the same call: `MINE` or `SETTLED`, with an outcome.

        `given` are the arguments as JSON, `arguments` what the tool's function is called with.

        Raises:
            FencedError: the run has moved on.
            BatonError: `tool_outcome_unknown`; `unavailable` where another executor takes too long.
        """
        attempt = _Attempt(self, tool, claims, key, given, arguments)
        async for _ in _patience(attempt.who.lease_s + LEASE_MARGIN_S):
            found = await attempt.make()
            match found.standing:
                case Standing.MINE | Standing.SETTLED:
                    return found
                case Standing.UNKNOWN:
                    raise BatonError(Code.TOOL_OUTCOME_UNKNOWN)
                case Standing.BUSY:
                    continue
                case _:
                    assert_never(found.standing)
        raise BatonError(Code.UNAVAILABLE, "The same call is still being run. Try again.")


@dataclass(slots=True)
class _Attempt:
    """One caller's wish to have one call carried out."""

    executor: Executor
    tool: Tool
    claims: RunClaims
    key: EffectKey
    given: str
    arguments: Mapping[str, Any]
    limit_s: float = field(init=False)
    who: Claimant = field(init=False)

    def __post_init__(self) -> None:
        limit = self.executor.timeout_s
        self.limit_s = min(limit, TRANSACTION_LIMIT_S) if self.tool.transactional else limit
        self.who = Claimant(
            claims=self.claims,
            key=self.key,
            tool=self.tool.name,
            idempotent=self.tool.idempotent,
            arguments=self.given,
            executor=f"{self.executor.instance}/{secrets.token_hex(4)}",
            lease_s=self.limit_s + LEASE_MARGIN_S,
            asleep_s=self.limit_s + 1,
        )

    async def make(self) -> Found:
        """Try once."""
        if self.tool.transactional:
            return await self._in_one_transaction()
        return await self._between_two()

    async def _in_one_transaction(self) -> Found:
        try:
            async with self.executor.engine.begin() as connection:
                found = await claim(connection, self.who)
                if found.standing is not Standing.MINE:
                    return found
                outcome = await self._run(SqlCall(**self._context(), connection=connection))
                if outcome.code is not None:
                    raise _FailedInTransaction(outcome)
                if not await settle(connection, self.who, outcome):
                    raise RuntimeError(f"{self.tool.name} ended the transaction it was given")
                return Found(Standing.MINE, outcome)
        except _FailedInTransaction as failed:
            return await self._record(failed.outcome)

    async def _record(self, outcome: Outcome) -> Found:
        """Store a failure whose transaction is undone, unless somebody came in between."""
        async with self.executor.engine.begin() as connection:
            found = await claim(connection, self.who)
            if found.standing is not Standing.MINE:
                return found
            await settle(connection, self.who, outcome)
        return Found(Standing.MINE, outcome)

    async def _between_two(self) -> Found:
        found, since = await self._claim_over_outages()
        if found.standing is not Standing.MINE:
            return found
        if monotonic() - since > LEASE_MARGIN_S:
            # This process was asleep, and the lease will not outlive the tool's time any more.
            return Found(Standing.BUSY)
        outcome = await self._run(ToolCall(**self._context()))
        if await self._settle_over_outages(outcome):
            return Found(Standing.MINE, outcome)
        log.warning("an effect was settled by somebody else", tool=self.tool.name)
        return Found(Standing.BUSY)  # what the ledger says counts, so ask it

    async def _claim_over_outages(self) -> tuple[Found, float]:
        """Claim, and since when it counts at least. Where the answer is lost, claim again.

        Left alone, such a claim would be unknown in the end though nothing was begun.
        """
        sent = False
        async for last in _patience(LEASE_MARGIN_S):
            since = monotonic()
            try:
                async with self._autocommit.connect() as connection:
                    sent = True
                    return await claim(connection, self.who), since
            except SQLAlchemyError as error:
                if last or not sent or not is_away(error):
                    raise
        raise AssertionError("unreachable")

    async def _settle_over_outages(self, outcome: Outcome) -> bool:
        """Nobody else knows what happened: keep trying for as long as the claim is ours."""
        async for last in _patience(LEASE_MARGIN_S):
            try:
                return await self._settle(outcome)
            except SQLAlchemyError as error:
                if last or not is_away(error):
                    raise
        raise AssertionError("unreachable")

    async def _settle(self, outcome: Outcome) -> bool:
        engine = self.executor.engine if outcome.files else self._autocommit
        async with engine.connect() as connection:
            settled = await settle(connection, self.who, outcome)
            if settled:
                await connection.commit()
            return settled

    async def _run(self, call: ToolCall) -> Outcome:
        """Call the function, within its time, and see what came of it."""
        time = asyncio.timeout(self.limit_s)
        try:
            async with time:
                value = await self.tool.function(call, **self.arguments)
            return self._result(value, tuple(call.files.made))
        except ToolError as error:
            return Outcome.failed(error.code, error.message, status=error.status)
        except Exception as error:
            if time.expired():
                return Outcome.failed(Code.TOOL_TIMEOUT, f"The tool took over {self.limit_s:g} s.")
            if self.tool.transactional and isinstance(error, SQLAlchemyError) and is_away(error):
                raise  # nothing was done: the same call may come again
            return self._failed(error)
        except BaseException as error:  # an exit ends neither this process nor its other calls
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return self._failed(error)

    def _failed(self, error: BaseException) -> Outcome:
        log.error("a tool failed", tool=self.tool.name, exc_info=error)
        return Outcome.failed(Code.TOOL_FAILED)

    def _result(self, value: Any, made: tuple[NewFile, ...]) -> Outcome:
        try:
            result = to_json(value, inf_nan_mode="null")
        except (PydanticSerializationError, ValueError) as error:
            log.warning("a tool's result is not JSON", tool=self.tool.name, why=str(error))
            return Outcome.failed(Code.TOOL_FAILED)
        if len(result) > MAX_FILE_BYTES:
            message = f"The result has {len(result):,} bytes; {MAX_FILE_BYTES:,} are allowed."
            return Outcome.failed(Code.TOOL_TOO_LARGE, message)
        if len(result) > self.executor.max_result_bytes:
            whole = file_of(value, result)
            shown = cut(whole, most=self.executor.max_result_bytes)
            return Outcome(result=shown, files=(*made, whole))
        return Outcome(result=result.decode(), files=made)

    def _context(self) -> dict[str, Any]:
        return {
            **{name: getattr(self.claims, name) for name in _SHOWN_TO_TOOLS},
            "idempotency_key": self.key.as_text,
            "http": http_client(self.executor.connections, self.key.as_text),
            "engine": self.executor.engine,
            "files": MadeFiles(),
        }

    @property
    def _autocommit(self) -> AsyncEngine:
        """The same pool; a single statement needs no BEGIN and COMMIT around it."""
        return self.executor.engine.execution_options(isolation_level="AUTOCOMMIT")


def grace_s(settings: ToolsvcSettings) -> float:
    """How long a process that stops lets calls go on, in seconds.

    Cut off in the middle, the outcome of one that may not be made again would stay unknown.
    """
    return settings.tool_timeout_s + LEASE_MARGIN_S


async def _patience(limit_s: float) -> AsyncIterator[bool]:
    """Once at once, then with growing pauses until `limit_s` has passed; true the last time."""
    until = monotonic() + limit_s
    pause = _FIRST_PAUSE_S
    while (left := until - monotonic()) > 0:
        yield False
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)
    yield True
