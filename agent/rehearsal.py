"""Rehearsals of an installation's runs, by processes of this release: nobody notices them.

toolsvc's reads the runs, a runner's replays them: who runs agents' code does not know the database.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from agent.errors import CliError
from shared.protocol.rehearsal import Rehearsed

#: What a process of agents' code has no use for.
_SECRETS = ("DATABASE_URL", "REDIS_URL")


def rehearsed(database: str, agents: Path, kept: Path | None) -> list[Rehearsed]:
    """What comes of replaying the runs under way of an installation.

    Raises:
        CliError: they could not be read, or not be tried.
    """
    reading = _python("toolsvc.underway", env=os.environ | {"DATABASE_URL": database})
    return rehearsal_of(reading, agents, kept)


def rehearsal_of(lines: bytes, agents: Path, kept: Path | None) -> list[Rehearsed]:
    """The same of runs that are told of in lines.

    Raises:
        CliError: they could not be tried.
    """
    if lines.count(b"\n") < 2:
        return []  # the tools, and no run
    given: Iterable[str] = ("--agents", str(agents), *(("--kept", str(kept)) if kept else ()))
    env = {name: value for name, value in os.environ.items() if name not in _SECRETS}
    said = _python("runner.rehearse", *given, env=env, stdin=lines)
    return [Rehearsed.model_validate_json(line) for line in said.splitlines()]


def _python(
    module: str, *arguments: str, env: Mapping[str, str], stdin: bytes | None = None
) -> bytes:
    done = subprocess.run(  # noqa: S603 - a module of ours
        [sys.executable, "-m", module, *arguments],
        env=env,
        input=b"" if stdin is None else stdin,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise CliError(f"{module} could not do its part: {' '.join(last)[:300]}", "")
    return done.stdout
