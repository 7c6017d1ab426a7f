"""Breaking lines between words while text streams, so that no word is cut at the screen's edge.

Text goes out as it comes; only the last, unfinished word waits for what follows. What looks like
code or a table keeps its lines.
"""

import re

from rich.cells import cell_len

#: A word that grows beyond this is none; it goes out as it is.
LONGEST_WORD = 40
_PIECES = re.compile(r"\n|[ \t]+|[^ \t\n]+")
_AS_IT_IS = ("```", "~~~", "|", "    ", "\t")


class Wrapper:
    """Feed it pieces of text; what it returns is to be printed at once."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._fenced = False
        self._line = ""  #: how the line begins
        self._column = 0
        self._gap = self._word = ""

    def feed(self, text: str) -> str:
        """What to print now."""
        pieces = _PIECES.findall(self._take_word() + text)
        if pieces and not pieces[-1].isspace() and len(pieces[-1]) < LONGEST_WORD:
            self._word = pieces.pop()
        return "".join(map(self._place, pieces))

    def finish(self) -> str:
        """What is left."""
        return self._place(self._take_word())

    def _take_word(self) -> str:
        word, self._word = self._word, ""
        return word

    def _place(self, piece: str) -> str:
        if piece == "\n":
            if self._line.startswith(("```", "~~~")):
                self._fenced = not self._fenced
            self._begin_line()
            return "\n"
        if piece.isspace() and self._line and not self._kept:
            self._gap = piece  # printed with the word that follows, or not at all
            return ""
        gap, self._gap = self._gap, ""
        cells = cell_len(gap + piece)
        self._line = (self._line + gap + piece)[:8]
        if self._column + cells > self._width and self._column and not self._kept:
            self._column = cell_len(piece)
            return "\n" + piece
        self._column += cells
        return gap + piece

    @property
    def _kept(self) -> bool:
        return self._fenced or self._line.startswith(_AS_IT_IS)

    def _begin_line(self) -> None:
        self._line, self._column, self._gap = "", 0, ""
