"""What a carried run makes of a commit that toolsvc refuses."""

import asyncio
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from runner.carried import CarriedRun, StopKind
from runner.outbox import Outbox
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import ClaimedRun, Commit, CommitAnswer


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
    run, thread = uuid4(), uuid4()
    claimed = ClaimedRun(
        run=run,
        root=run,
        thread=thread,
        user=uuid4(),
        run_id="r",
        thread_id="t",
        agent="A",
        fence=1,
        starts=[],
        sql_last=(0, 0),
        history=[],
        messages=[],
        input={},
        token="token",
        token_expires=0,
    )
    outbox = Outbox(thread=thread, run_id="r", fence=1, starts=[], ttl_s=60, changed=lambda _: None)
    refusing: Any = Refusing(code)
    nothing: Any = None
    trace: Any = SimpleNamespace(take=list, cut_off=list, stored=lambda _: None, silent=False)
    carried = CarriedRun(claimed, record=refusing, outbox=outbox, run_config=nothing, trace=trace)
    outbox.emit({"type": "CUSTOM", "name": "x", "value": 1})
    committing = asyncio.create_task(carried.committer.events())
    assert (await carried.stopped).kind is kind
    committing.cancel()
