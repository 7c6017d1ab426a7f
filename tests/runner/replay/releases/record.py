"""Journals of whole runs, as this release makes them; a part of what is recorded of it."""

import asyncio
import json
from pathlib import Path
from typing import Any

from runner.carried import StopKind
from runner.invocations import patch_runner
from tests.runner.replay.releases.programs import PROGRAMS
from tests.runner.replay.rig import World, attempt


async def recorded(name: str) -> dict[str, Any]:
    """A run of a program from its beginning to its end: journal, commits, what came of it."""
    program, answers = PROGRAMS[name]()
    world = World()
    outcome = await attempt(program, world, answers=answers)
    if outcome.stop.kind is not StopKind.FINISHED:
        raise SystemExit(f"{name} did not finish: {outcome.stop}")
    return {
        "journal": [step.model_dump() for step in world.journal],
        "commits": [commit.model_dump(mode="json") for commit in world.commits],
        "done": world.done,
        "result": str(outcome.stop.result),
        "messages": outcome.seen["messages"],
    }


def record(folder: Path) -> None:
    """Write a file for each program."""
    patch_runner()
    runs = {name: asyncio.run(recorded(name)) for name in PROGRAMS}
    folder.mkdir()
    for name, run in runs.items():
        (folder / f"{name}.json").write_text(json.dumps(run, indent=1, sort_keys=True) + "\n")
