"""Errors of model calls that the author's code may catch: recorded, and raised again in replay."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from runner.carried import CarriedRun
from runner.journal import Key
from runner.models.errors import described, raised_again
from runner.scope import Scope


@asynccontextmanager
async def failing_again(run: CarriedRun, scope: Scope, digest: str) -> AsyncIterator[None]:
    """Keep an error that the author's code may catch, and raise it again where it was recorded.

    An invocation of ours is the outermost one: an error there ends the run.
    """
    key = Key(scope.name, "error", f"{scope.position}.{scope.failures}")
    if run.journal.holds(key):
        scope.failures += 1
        raise raised_again((await run.step(scope, key, digest, _never))["error"])
    try:
        yield
    except Exception as error:
        if scope.of_author and (kept := described(error)) is not None:
            scope.failures += 1

            async def failed() -> dict[str, Any]:
                return {"shown": [], "error": kept}

            await run.step(scope, key, digest, failed)
        raise


async def _never() -> dict[str, Any]:
    raise AssertionError("a recorded step is not made again")
