"""What a carried run makes of refused commits, and of a hand-over while it only waits."""

import asyncio
from typing import Any

import pytest

from runner.carried import StopKind
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import Commit, CommitAnswer
from tests.runner.doubles import carried


class Refusing:
    """toolsvc, which refuses every commit."""

    def __init__(self, code: Code) -> None:
        self.code = code

    async def commit(self, _run: Any, _token: Any, _commit: Commit) -> CommitAnswer:
        raise BatonError(self.code)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.FENCED, StopKind.LOST),
        (Code.NOT_FOUND, StopKind.LOST),
        (Code.NOT_SIGNED_IN, StopKind.LOST),
        (Code.BAD_INPUT, StopKind.FAILED),
    ],
)
async def test_a_run_whose_token_counts_no_more_is_left_to_others(
    code: Code, kind: StopKind
) -> None:
    run = carried(Refusing(code))
    run.outbox.emit({"type": "CUSTOM", "name": "x", "value": 1})
    committing = asyncio.create_task(run.committer.events())
    assert (await run.stopped).kind is kind
    committing.cancel()


@pytest.mark.asyncio
async def test_a_run_that_only_waits_is_given_away_at_once() -> None:
    run = carried(Refusing(Code.FENCED))
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    waiting = asyncio.create_task(run.waiting(wait()))
    await asyncio.sleep(0)
    run.hand_over()
    assert (await run.stopped).kind is StopKind.HANDED_OVER
    assert ended.is_set()
    assert not waiting.done()  # a stop never travels through agent code
    waiting.cancel()


@pytest.mark.asyncio
async def test_a_wait_that_fails_or_is_cancelled_passes_that_on() -> None:
    run = carried(Refusing(Code.FENCED))

    async def fail() -> None:
        raise BatonError(Code.UPSTREAM_UNAVAILABLE)

    with pytest.raises(BatonError):
        await run.waiting(fail())
    waiting = asyncio.create_task(run.waiting(asyncio.Event().wait()))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not run.stopped.done()
