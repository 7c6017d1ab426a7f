"""How a stream ends that cannot go on."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from uuid import uuid4

import pytest

from gateway.accept import Accepted
from gateway.agui.door import _Served
from gateway.auth.caller import Caller
from gateway.following import Followers
from gateway.openai.serving import KEEP_ALIVE
from gateway.questions import AskedError, Asking
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.position import START

pytestmark = pytest.mark.asyncio
ASKED = AskedError(
    [Asking("int_1", "run_0", "tool_call", "Mailer", "send", "{}")],
    *("thr_1", "http://localhost"),
    kept=True,
)


class Silence:
    """Followers of a run that says nothing for a while, and then fails."""

    def __init__(self, error: BatonError) -> None:
        self._said: list[BatonError | None] = [None, error]

    @asynccontextmanager
    async def following(self, *_: Any, **__: Any) -> "AsyncIterator[Silence]":
        yield self

    async def next(self, _within_s: float) -> None:
        if error := self._said.pop(0):
            raise error


async def told(error: BatonError) -> list[bytes]:
    followers = cast("Followers", Silence(error))
    served = _Served(followers, cast("Caller", None), site="", older=False)
    run = Accepted(
        run_key=uuid4(), thread_key=uuid4(), run_id="run_1", thread_id="thr_1", agent="A",
        status="queued", queued=True, created=True, last=START,
    )  # fmt: skip
    return [lines async for lines in served.run(run)]


async def test_a_store_that_is_away_cuts_it() -> None:
    assert await told(BatonError(Code.UNAVAILABLE)) == [KEEP_ALIVE]


async def test_a_question_before_it_ends_it_in_words() -> None:
    comment, last = await told(ASKED)
    assert comment == KEEP_ALIVE
    event = json.loads(last.removeprefix(b"data: "))
    assert (event["type"], event["code"]) == ("RUN_ERROR", "decision_needed")
    assert "http://localhost/#/thr_1" in event["message"]
