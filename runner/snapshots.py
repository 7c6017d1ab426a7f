"""Snapshots: the SDK's state at a turn of a long run, so that replay need not go through all turns.

A cache and nothing more. What was done stands in the journal; a snapshot only shortens the way to
the journal's end. So it is used only with the same code and SDK, where the journal before it is,
record for record, the one that it was taken after, and where the model call after it is recorded:
that call's digest shows whether it leads to where the run was. In any other case, and if it leads
elsewhere, all of the journal is replayed.

It holds data that is read as JSON, never code. What the runner itself keeps of a run (messages,
tokens, the context's fields) is no part of it, but comes out of the journal's records.
"""

import asyncio
import base64
import binascii
import zlib
from hashlib import sha256
from typing import Any

import orjson
from agents import Agent, RunContextWrapper, RunState
from agents.result import RunResultStreaming
from agents.version import __version__ as sdk_version
from pydantic import BaseModel, ConfigDict, ValidationError

from runner.carried import CarriedRun
from runner.journal import Key
from runner.models.digest import short_digest
from runner.restored import Restored
from runner.scope import Scope
from runner.steps import chained, intact
from shared.protocol.record import SNAPSHOT_LIMIT, StepRecord
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Model calls of the root invocation between two snapshots. One costs about two turns' CPU.
EVERY_TURNS = 25
#: Of a state as JSON; what is longer after unpacking was not made here.
LONGEST = 32 * SNAPSHOT_LIMIT


class _Envelope(BaseModel):
    """A state, and what has to be as it was for the state to count."""

    model_config = ConfigDict(strict=True)

    sdk: str
    code: str
    #: So many steps of the journal come before it; `journal` is the digest of their chain.
    steps: int
    journal: str
    #: Whether what the model is given is all that was made, as it is without hand-offs' filters.
    whole: bool
    state: dict[str, Any]


class Snapshots:
    """Takes snapshots of one run while it goes on live; `after` turns from its beginning."""

    def __init__(
        self, run: CarriedRun, result: RunResultStreaming, *, code: str, after: int
    ) -> None:
        self._run, self._result, self._code, self._newest = run, result, code, after

    def begin(self, scope: Scope) -> asyncio.Task[str | None] | None:
        """Begin to take one beside the model call that comes next in a scope, if one is due.

        The SDK's state stands still until that call is answered.
        """
        due = scope.parent is self._run.root and scope.position - self._newest >= EVERY_TURNS
        if not due or not self._at_rest(scope):
            return None
        self._newest = scope.position
        committer = self._run.committer
        taken = self._take(scope.position, committer.steps, committer.chain)
        return asyncio.create_task(taken, name="snapshot")

    async def _take(self, position: int, steps: int, chain: str) -> str | None:
        try:
            state = self._result.to_state()
            items = state._generated_items
            whole = len(items) == len(state._session_items) and all(
                one is other for one, other in zip(items, state._session_items, strict=True)
            )
            if whole:
                state._session_items = []
            # The step is done; its responses are in the journal, and its trace is the run's.
            state._current_turn, state._current_step = position, None
            state._model_responses, state._last_processed_response = [], None
            state._trace_state = None
            plain = state.to_json(context_serializer=_nothing_of)
            envelope = _Envelope(
                sdk=sdk_version,
                code=self._code,
                steps=steps,
                journal=chain,
                whole=whole,
                state=plain,
            )
            text = _packed(envelope)
        except Exception as error:  # noqa: BLE001 - a state that the SDK cannot write; it is a cache
            log.info("no snapshot can be taken", error=f"{type(error).__name__}: {error}")
            return None
        return text if len(text) <= SNAPSHOT_LIMIT else None

    def _at_rest(self, scope: Scope) -> bool:
        """Whether nothing is open besides the turn, and nothing would be lost."""
        run, result = self._run, self._result
        guarding = result._input_guardrails_task
        return (
            result.current_turn == scope.position + 1
            and run.committer.at_rest
            and not run.journal.replaying
            and not run.sessions.open
            and not scope.has_invocations
            and (scope.context is None or scope.context.complete)
            and not result.interruptions
            and (guarding is None or guarding.done())
            and not any(one.output.tripwire_triggered for one in result.input_guardrail_results)
        )


async def restored(
    run: CarriedRun, agent: Agent[Any], given: Any, *, code: str, max_turns: int
) -> Restored | None:
    """The claim's snapshot; `None` where there is none that fits."""
    if run.claimed.snapshot is None:
        return None
    try:
        envelope = _unpacked(run.claimed.snapshot)
        found = _fitting(run, agent, given, envelope, code=code)
        context = RunContextWrapper(run.context)
        state = await RunState.from_json(agent, envelope.state, context_override=context)
        _settle(state, envelope, max_turns)
        if state._current_turn != found[1]:
            raise ValueError("it is of another turn")
    except Exception as error:  # noqa: BLE001 - whatever was stored there: it is a cache
        log.info("a snapshot is not used", error=f"{type(error).__name__}: {error}"[:300])
        return None
    log.info("replays from a snapshot", position=found[1], steps=envelope.steps)
    return Restored(state, given, *found)


def _fitting(
    run: CarriedRun, agent: Agent[Any], given: Any, envelope: _Envelope, *, code: str
) -> tuple[list[StepRecord], int]:
    """The steps before it, and the position of the model call that comes next.

    Raises:
        ValueError: it belongs to other code, to another journal, or to no place in this one.
    """
    if (envelope.sdk, envelope.code) != (sdk_version, code):
        raise ValueError("it was taken with other code")
    before = run.claimed.journal[: envelope.steps]
    if envelope.steps != len(before) or chained("", *before) != envelope.journal:
        raise ValueError("it was taken after other steps")
    if not all(map(intact, before)):
        raise ValueError("a record before it was changed")
    name = Scope().invocation(agent.name, short_digest(given)).name
    position = sum(one.scope == name and one.kind == "model" for one in before)
    following = run.journal.holds(Key(name, "model", str(position)))
    if not position or following is None:
        raise ValueError("the model call after it is not recorded")
    return before, position


def _settle(state: RunState[Any], envelope: _Envelope, max_turns: int) -> None:
    """What is this process's to say, and not the snapshot's."""
    state._max_turns = max_turns
    state._current_step = state._last_processed_response = None
    state._pending_input, state._trace_state = [], None
    if envelope.whole:
        state._session_items = list(state._generated_items)


def _nothing_of(_context: Any) -> dict[str, Any]:
    """The context's fields come out of the journal."""
    return {}


def _packed(envelope: _Envelope) -> str:
    plain = orjson.dumps(envelope.model_dump())
    if len(plain) > LONGEST:
        raise ValueError("the state is too long")
    packed = zlib.compress(plain, 1)
    return _seal(packed) + base64.b64encode(packed).decode()


def _unpacked(text: str) -> _Envelope:
    """Raises ValueError, zlib.error: this is no snapshot, or it was changed."""
    seal, coded = text[:_SEAL_CHARS], text[_SEAL_CHARS:]
    try:
        packed = base64.b64decode(coded, validate=True)
    except binascii.Error as error:
        raise ValueError("it is not base64") from error
    if seal != _seal(packed):
        raise ValueError("it was changed after it was stored")
    unpacking = zlib.decompressobj()
    plain = unpacking.decompress(packed, LONGEST)
    if not unpacking.eof:
        raise ValueError("it is too long")
    try:
        return _Envelope.model_validate(orjson.loads(plain))
    except ValidationError as error:
        raise ValueError(f"it is no snapshot: {error.error_count()} mistakes") from error


_SEAL_CHARS = 32


def _seal(packed: bytes) -> str:
    return sha256(packed).hexdigest()[:_SEAL_CHARS]
