"""The bench works; what it measures is not judged here, where other tests run beside it."""

import dataclasses
import io

import pytest
from rich.console import Console

from benchmarks.measures import QUICK
from benchmarks.run import OF_ONE_RUNNER, Bench

TINY = dataclasses.replace(
    QUICK,
    baseline_s=0.1,
    warm_up_s=0.1,
    deltas=5,
    alone=2,
    loop_s=0.2,
    sockets=20,
    warm_sockets=5,
    idle_threads=20,
    commits=12,
    replays=(2,),
    at_once=(1, 2),
    live=4,
    stream_deltas=6,
    stream_turns=1,
)


@pytest.mark.stores
@pytest.mark.timeout(300)  # it starts the whole stack, and two floors
@pytest.mark.asyncio
async def test_a_tiny_run_yields_the_whole_table() -> None:
    result = await Bench(TINY, (*OF_ONE_RUNNER, "lean", "replay")).run()

    by_name = {row.name: row for row in result.rows}
    assert len(by_name) == len(result.rows)
    assert all(row.baton is not None for row in result.rows)
    for compared in ("CPU per delta", "five-delta runs", "first token, alone, p50"):
        assert by_name[compared].bare_sdk
        assert by_name[compared].bare_pipe
    for row in (one for name, one in by_name.items() if name.startswith("/v1: ")):
        assert row.of_bare_sdk
    assert {row.goal_in_words() for row in result.rows} >= {"≤ 200, below both", "≥ 150", "≤ 17"}
    assert {row["name"] for row in result.as_json()["rows"]} == set(by_name)

    shown = io.StringIO()
    result.show(Console(file=shown, width=160))
    assert all(name in shown.getvalue() for name in by_name)
