"""A tool call as a step: answered from the journal, or made, shown and recorded.

What a tool raises is recorded too, for code that catches it; see raised.py.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from runner.carried import CarriedRun
from runner.journal import Key
from runner.raised import described, raised_again
from runner.scope import Scope
from runner.showing import show_result
from shared.protocol.ids import place_of

#: Makes a call's record, `shown` included.
Live = Callable[[], Awaitable[dict[str, Any]]]


async def recorded_call(
    run: CarriedRun, scope: Scope, call_id: str, digest: str, live: Live, *, inside: Scope
) -> dict[str, Any]:
    """The record of a call that runs `inside` a scope of its own.

    Raises:
        Exception: what the tool raised, now or when it was carried out.
    """
    place = place_of(call_id)
    async with _raising_again(run, scope, place, digest, inside):
        return await shown_step(
            run, scope, Key(scope.name, "tool", place), digest, live, inside=inside
        )


async def show(run: CarriedRun, scope: Scope, call_id: str, text: str) -> dict[str, Any]:
    """Show a call's result; the message it leaves."""

    async def at_home() -> dict[str, Any]:
        return show_result(run, scope, call_id, text)

    return await run.home.run(at_home)


async def shown_step(
    run: CarriedRun,
    scope: Scope,
    key: Key,
    digest: str,
    live: Live,
    *,
    inside: Scope | None = None,
) -> dict[str, Any]:
    """A call's step. What it has shown stays, also when a stop cuts its commit."""
    made: list[dict[str, Any]] = []

    async def kept() -> dict[str, Any]:
        made.append(await live())
        return made[0]

    try:
        record = await run.step(scope, key, digest, kept, inside=inside)
    except BaseException:
        for one in made:
            _leave_message(run, scope, one["shown"])
        raise
    _leave_message(run, scope, record["shown"])
    return record


def _leave_message(run: CarriedRun, scope: Scope, message: dict[str, Any]) -> None:
    run.answered.add(message["toolCallId"])
    if not scope.nested:
        run.shown.append(message)


@asynccontextmanager
async def _raising_again(
    run: CarriedRun, scope: Scope, place: str, digest: str, inside: Scope
) -> AsyncIterator[None]:
    key = Key(scope.name, "raised", place)
    if run.journal.holds(key):
        record = await run.step(scope, key, digest, _never, inside=inside)
        raise raised_again(record["error"])
    try:
        yield
    except Exception as error:
        if (kept := described(error)) is not None:

            async def failed() -> dict[str, Any]:
                return {"shown": [], "error": kept}

            await run.step(scope, key, digest, failed, inside=inside)
        raise


async def _never() -> dict[str, Any]:
    raise AssertionError("a recorded step is not made again")
