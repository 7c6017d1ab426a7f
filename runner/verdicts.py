"""Guardrails: each verdict is a step, so that replay neither asks again nor goes around one.

A guardrail without a recorded verdict runs, also when it was running as the process died. What it
runs inside itself (a model, agents) has a scope of its own. The SDK calls all of them by `run`.
"""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from agents import (
    GuardrailFunctionOutput,
    InputGuardrail,
    InputGuardrailResult,
    OutputGuardrail,
    OutputGuardrailResult,
    ToolGuardrailFunctionOutput,
    ToolInputGuardrail,
    ToolOutputGuardrail,
)

from runner import codec
from runner.carried import CARRIED
from runner.journal import Key
from runner.scope import SCOPE
from runner.theirs import theirs
from shared.protocol.ids import place_of
from shared.telemetry.logs import get_logger
from shared.telemetry.metrics import GUARDRAILS

log = get_logger(__name__)

#: A verdict's digest: there is nothing but its place to compare.
NO_DIGEST = ""


def patch_guardrails() -> None:
    """Journal the verdicts of every guardrail in this process; to be called once."""
    kinds: tuple[tuple[Any, Callable[..., Any]], ...] = (
        (InputGuardrail, _input_result),
        (OutputGuardrail, _output_result),
    )
    for kind, result in kinds:
        kind.run = _of_agent(kind.run, result)
    tools: tuple[Any, ...] = (ToolInputGuardrail, ToolOutputGuardrail)
    for kind in tools:
        kind.run = _of_tool(kind.run, kind.__name__)


Run = Callable[..., Awaitable[Any]]


def _of_agent(run: Run, result: Callable[..., Any]) -> Run:
    @wraps(run)
    async def journaled(self: Any, *args: Any, **kwargs: Any) -> Any:
        async def live() -> dict[str, Any]:
            output = (await run(self, *args, **kwargs)).output
            return {
                "shown": [],
                "info": codec.encode(output.output_info),
                "tripped": bool(output.tripwire_triggered),
            }

        record = await _verdict(f"{type(self).__name__}:{self.get_name()}", live)
        if record is None:
            return await run(self, *args, **kwargs)
        output = GuardrailFunctionOutput(
            output_info=codec.decode(record["info"]), tripwire_triggered=record["tripped"]
        )
        return result(self, output, *args, **kwargs)

    return journaled


def _input_result(guardrail: Any, output: Any, *_args: Any, **_kwargs: Any) -> InputGuardrailResult:
    return InputGuardrailResult(guardrail=guardrail, output=output)


def _output_result(guardrail: Any, output: Any, **asked: Any) -> OutputGuardrailResult:
    """The SDK asks by keyword."""
    return OutputGuardrailResult(
        guardrail=guardrail,
        agent=asked["agent"],
        agent_output=asked["agent_output"],
        output=output,
    )


def _of_tool(run: Run, kind: str) -> Run:
    @wraps(run)
    async def journaled(self: Any, data: Any) -> Any:
        async def live() -> dict[str, Any]:
            output = await run(self, data)
            info = codec.encode(output.output_info)
            return {"shown": [], "info": info, "behavior": dict(output.behavior)}

        name = f"{kind}:{self.get_name()}:{place_of(data.context.tool_call_id)}"
        record = await _verdict(name, live)
        if record is None:
            return await run(self, data)
        return ToolGuardrailFunctionOutput(
            output_info=codec.decode(record["info"]), behavior=record["behavior"]
        )

    return journaled


async def _verdict(
    name: str, live: Callable[[], Awaitable[dict[str, Any]]]
) -> dict[str, Any] | None:
    """The verdict's record; `None` outside a run."""
    run, scope = CARRIED.get(), SCOPE.get()
    if run is None or scope is None:
        return None
    place = scope.numbered(name)
    inside = scope.guardrail(place)

    async def asked() -> dict[str, Any]:
        entered = SCOPE.set(inside)
        try:
            with theirs():
                made = await live()
            verdict = _word_of(made)
            GUARDRAILS.labels(run.claimed.agent, verdict).inc()
            log.debug("a guardrail has judged", guardrail=name, verdict=verdict)
            return made
        finally:
            SCOPE.reset(entered)
            run.leave(inside)

    return await run.step(
        scope, Key(scope.name, "guardrail", place), NO_DIGEST, asked, inside=inside
    )


def _word_of(record: dict[str, Any]) -> str:
    """What a guardrail came to, in a word."""
    if record.get("tripped"):
        return "tripped"
    kind = record.get("behavior", {}).get("type", "allow")
    return {"allow": "passed", "reject_content": "rejected"}.get(kind, "tripped")
