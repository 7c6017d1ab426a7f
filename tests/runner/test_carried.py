"""What a carried run makes of a commit that toolsvc refuses."""

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
