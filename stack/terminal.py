"""What a person sees: each line of a process behind its name, in its colour."""

import os
import sys
from itertools import cycle
from typing import TextIO

from shared.telemetry.redact import redact

#: ANSI colours that can be read on dark and on light ground; red is kept for bad news.
_COLOURS = (36, 33, 35, 32, 34, 96, 93, 95, 92, 94)
_RED = 31


class Terminal:
    """Standard output, shared by the stack's processes."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._coloured = out.isatty() and "NO_COLOR" not in os.environ
        self._next_colour = cycle(_COLOURS)
        self._colours: dict[str, int] = {}

    def show(self, name: str, line: str) -> None:
        """One line of a process's output; what agents print may hold secrets."""
        if name not in self._colours:
            self._colours[name] = next(self._next_colour)
        self.say(f"{self._paint(f'{name:>9} |', self._colours[name])} {redact(line)}")

    def news(self, name: str, line: str) -> None:
        """One line about a process: it died, it was started again."""
        self.say(self._paint(f"{name:>9} | {line}", _RED))

    def say(self, text: str) -> None:
        """A line of our own."""
        try:
            print(text, file=self._out, flush=True)
        except BrokenPipeError:  # the reader is gone; the stack shall go on
            self._out = open(os.devnull, "w")  # noqa: PTH123, SIM115 - lives as long as we do

    def _paint(self, text: str, colour: int) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured else text
