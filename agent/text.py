"""Words for people: text that cannot harm a terminal, ages, durations, shortened values."""

import json
import re
from datetime import UTC, datetime
from typing import Any

#: What others wrote must not move the cursor, change the title, or turn lines around. Removing each
#: control character by itself is safe even where a sequence is cut in half by two deltas.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
    "\ud800-\udfff]"
)
#: Stands before what a person says, and where there is nothing to tell.
PROMPT, NOTHING = "> ", "—"

_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def plain(text: object) -> str:
    """The text without control characters, except line feed and tab."""
    return _HARMFUL.sub("", str(text))


def one_line(text: object, most: int = 100) -> str:
    """The same on one line, cut where it gets too long."""
    line = " ".join(plain(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def arguments(text: str, most: int = 100) -> str:
    """Arguments of a tool call as people write them: `name="Ada" limit=3`."""
    try:
        given = json.loads(text or "{}")
    except ValueError:
        return one_line(text, most)
    if not isinstance(given, dict):
        return one_line(text, most)
    pairs = (f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items())
    return one_line(" ".join(pairs), most)


def when(text: str | None) -> datetime | None:
    """A moment as the gateway writes it; `None` for none."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def ago(text: str | None, now: datetime | None = None) -> str:
    """How long ago a moment was: `3 min ago`."""
    moment = when(text)
    if moment is None:
        return NOTHING
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 0:
        return f"in {span(-seconds)}"
    return "now" if seconds < 1 else f"{span(seconds)} ago"


def span(seconds: float) -> str:
    """A length of time in its one fitting unit: `12 ms`, `3.4 s`, `5 min`, `2 h`, `9 d`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} h"
    return f"{seconds / _DAY:.0f} d"


def between(start: str | None, end: str | None) -> str:
    """How long something took; a dash where it has not ended."""
    began, ended = when(start), when(end)
    return span((ended - began).total_seconds()) if began and ended else NOTHING


def count(number: int, noun: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def died(run: dict[str, Any]) -> str:
    """How many processes a run has taken with it; nothing where there are none."""
    number = int(run.get("deaths") or 0)
    many = "1 process" if number == 1 else f"{number} processes"
    return f"{many} ended with it since its last finished step" if number else ""


def text_of(message: dict[str, Any]) -> str:
    """What a message says; parts that are no text are named."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (
            str(part.get("text", "")) if part.get("type") == "text" else f"[{part.get('type')}]"
            for part in content
            if isinstance(part, dict)
        )
        return plain("\n".join(parts))
    return plain(content) if isinstance(content, str) else ""
