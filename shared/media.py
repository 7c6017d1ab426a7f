"""What a file is, by its bytes: what its sender says counts only among kinds of text."""

import re

import filetype  # type: ignore[import-untyped]

from shared.line import line_of

#: No file is larger.
MAX_FILE_BYTES = 10 * 1_048_576
#: Pictures that models look at.
IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PDF = "application/pdf"
UNKNOWN = "application/octet-stream"
_TEXT = "text/plain"
#: Text that is served as what its sender calls it; all other is plain, a page above all.
_KINDS_OF_TEXT = frozenset({_TEXT, "text/csv", "text/markdown", "application/json"})
#: Files that hold text, sent with a name but no type.
_BY_NAME = {".csv": "text/csv", ".md": "text/markdown", ".json": "application/json"}
MOST_NAME_CHARS = 200
_SEPARATORS = re.compile(r"[/\\]")


def media_type_of(content: bytes, *, said: str | None = None, name: str | None = None) -> str:
    """The type of some bytes; `said` and `name` tell kinds of text from each other."""
    if found := filetype.guess_mime(content):
        return str(found)
    if b"\x00" in content or not _is_utf8(content):
        return UNKNOWN
    kind = (said or "").partition(";")[0].strip().lower()
    if kind not in _KINDS_OF_TEXT or kind == _TEXT:
        ending = (name or "").rpartition(".")
        kind = _BY_NAME.get(f".{ending[2].lower()}", _TEXT)
    return f"{kind}; charset=utf-8"


def is_text(media_type: str) -> bool:
    """Whether a model can read it as it is."""
    return media_type.partition(";")[0] in _KINDS_OF_TEXT


def file_name(given: str | None) -> str | None:
    """A name that people can be shown: one line, no folders, not too long; `None` for none."""
    name = line_of(_SEPARATORS.split(given or "")[-1])
    if len(name) <= MOST_NAME_CHARS:
        return name or None
    stem, dot, ending = name.rpartition(".")
    kept = f"{dot}{ending}" if len(ending) < 20 else ""
    return (stem or name)[: MOST_NAME_CHARS - len(kept)] + kept


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True
