"""The judge sees what is wrong with naive workers, and the clients are the same."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from drill.naive_run import KINDS
from drill.plan import make_plan
from drill.verdict import Wrong
from stack.program import ROOT


def test_naive_workers_are_asked_for_what_they_know() -> None:
    plan = make_plan(seed=1, minutes=1, runs=100, kinds=KINDS)
    assert {ask.kind for asks in plan.conversations for ask in asks} == set(KINDS)


@pytest.mark.stores
@pytest.mark.timeout(300)
def test_the_judge_finds_what_naive_workers_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "agent", "drill", "--naive", "--json"),
            *("--minutes", "0.3", "--runs", "20", "--seed", "3"),
            *("--record", str(tmp_path / "naive.ndjson")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    found = {one["kind"] for one in json.loads(done.stdout)["violations"]}
    assert {Wrong.TERMINALS, Wrong.TEXT} <= found
