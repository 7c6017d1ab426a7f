"""Names and titles are one line: what people type or paste becomes one, and nothing hides in it."""

import re

#: Control characters, and those that turn the direction of what stands around them.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
#: Marks of direction: they belong to some scripts, and only a name needs none.
_MARKS = re.compile("[\u061c\u200e\u200f]")


def one_line(text: str) -> str:
    """The text with every stretch of white space, line ends included, as a single space.

    Raises:
        ValueError: it holds control characters besides.
    """
    line = " ".join(text.split())
    if _HARMFUL.search(line):
        raise ValueError("control characters are not allowed; leave them out")
    return line


def line_of(text: str) -> str:
    """The same of a text that may be anything: what has no place on a line is left out."""
    return " ".join(_HARMFUL.sub(" ", _MARKS.sub(" ", text)).split())
