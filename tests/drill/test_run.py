"""A drill whose stack does not start."""

from pathlib import Path

import pytest
from rich.console import Console

from drill.plan import make_plan
from drill.progress import Progress
from drill.records import Log
from drill.run import Drill
from stack.errors import StackError
from stack.running import Stack


@pytest.mark.asyncio
async def test_what_was_printed_last_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(stack: Stack) -> None:
        stack._show("runner-1", "Wrong setting: it has a reason.")
        raise StackError("runner-1 ended with exit status 2")

    monkeypatch.setattr(Stack, "start", start)
    with Log(tmp_path / "drill.ndjson") as log:
        drill = Drill(
            plan=make_plan(seed=1, minutes=0.1, runs=1),
            minutes=0.1,
            log=log,
            progress=Progress(Console(quiet=True)),
        )
        with pytest.raises(StackError, match=r"status 2(?s:.*)runner-1 \| Wrong setting: it has"):
            await drill.carry_out()
