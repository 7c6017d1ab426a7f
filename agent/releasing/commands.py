"""Items that a program decides by its exit status; all that it prints is kept."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from agent.releasing.item import Finding, Item, Tell
from agent.text import one_line, plain

#: What programs print, from the repository's root; git does not see it.
LOGS: Final = Path(".baton/release-check")
#: Characters of a program's last words in the report.
LAST_WORDS: Final = 300
#: In them are a program's last lines.
LOOK_BACK_BYTES: Final = 8192
#: How often it is looked whether a program says something new.
LOOK_EVERY_S: Final = 0.5
#: What a stack takes at most to end by itself.
ENDS_WITHIN_S: Final = 60

_BATON: Final = ("-m", "agent")
#: The quickest first: what Python is told.
COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "deploy-check": (*_BATON, "deploy-check"),
    "checks": ("dev.py", "check"),
    "matrix": (*_BATON, "matrix", "--install"),
    "drill": (*_BATON, "drill"),
    "bench": ("dev.py", "bench", "--json", str(LOGS / "bench.json")),
    "tests": ("dev.py", "test"),
}
#: In an acceptance test a skip is no success.
ENVIRONMENT: Final[Mapping[str, dict[str, str]]] = {"tests": {"BATON_FAIL_ON_SKIP": "1"}}
#: How lines begin that tell more than a hint which comes after them.
VERDICTS: Final = ("✓", "✗", "baton: ")


def commands(root: Path) -> list[Item]:
    """The items, for the code at `root`."""
    return [
        by_command(name, words, root, ENVIRONMENT.get(name, {})) for name, words in COMMANDS.items()
    ]


def by_command(
    name: str, words: Sequence[str], root: Path, environment: Mapping[str, str] | None = None
) -> Item:
    """An item that is what Python makes of `words`."""
    given = environment or {}
    shown = " ".join((*(f"{key}={value}" for key, value in given.items()), "python", *words))
    log = LOGS / f"{name}.log"
    return Item(name, shown, str(log), partial(_run, words, root, log, given))


def _run(
    words: Sequence[str], root: Path, log: Path, environment: Mapping[str, str], tell: Tell
) -> Finding:
    (root / log).parent.mkdir(parents=True, exist_ok=True)
    with (root / log).open("wb") as printed:
        try:
            process = subprocess.Popen(  # noqa: S603 - ours
                [sys.executable, *words],
                cwd=root,
                env=os.environ | {"PYTHONUNBUFFERED": "1", **environment},
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            return Finding(False, str(error))
        status = _ended(process, root / log, tell)
    last = _fit_to_print(_verdict(root / log), root) or "it said nothing"
    return Finding(status == 0, last if status == 0 else f"exit status {status}: {last}")


def _ended(process: subprocess.Popen[bytes], log: Path, tell: Tell) -> int:
    """Wait for its end; whoever stops us stops it, too."""
    try:
        while True:
            try:
                return process.wait(LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                tell(_last_words(log))
    except BaseException:
        process.terminate()
        try:
            process.wait(ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise


def _verdict(log: Path) -> str:
    lines = _last_lines(log)
    return next((one for one in reversed(lines) if one.startswith(VERDICTS)), _last_words(log))


def _last_words(log: Path) -> str:
    return next(reversed(_last_lines(log)), "")


def _last_lines(log: Path) -> list[str]:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LOOK_BACK_BYTES))
        lines = plain(file.read().decode("utf-8", "replace")).split("\n")
    return [line.strip() for line in lines if line.strip()]


def _fit_to_print(words: str, root: Path) -> str:
    """For a report that others read: without places of this machine, and servers that it uses."""
    for place in (str(root), str(Path.home())):
        words = words.replace(place, "…")
    return one_line(re.sub(r"\b\w+://\S+", "…", words), LAST_WORDS)
