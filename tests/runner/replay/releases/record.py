"""Record what this release leaves behind: `python -m tests.runner.replay.releases.record`.

Done once for each release, when it is made; what is there is never recorded again.
"""

import asyncio
import json
import sys
import tomllib
from typing import Any

from runner.carried import StopKind
from runner.invocations import patch_runner
from stack.program import ROOT
from tests.runner.replay.releases.programs import PROGRAMS
from tests.runner.replay.rig import World, attempt

FOLDER = ROOT / "tests" / "fixtures" / "releases"


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


def main() -> int:
    """Write a file for each program, unless this release has its own already."""
    release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    folder = FOLDER / release
    if folder.exists():
        print(f"{folder} is there already: what a release has left does not change")
        return 1
    patch_runner()
    runs = {name: asyncio.run(recorded(name)) for name in PROGRAMS}
    folder.mkdir(parents=True)
    for name, run in runs.items():
        (folder / f"{name}.json").write_text(json.dumps(run, indent=1, sort_keys=True) + "\n")
    print(f"{len(PROGRAMS)} runs in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
