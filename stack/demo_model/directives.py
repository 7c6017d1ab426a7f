"""Directives: `[[…]]` in a user's text bends the answer, for tests and benchmarks.

| directive | effect |
|---|---|
| `[[deltas=50]]` | the text is `word1 … word50`, in exactly 50 deltas |
| `[[large=200000]]` | the text has that many characters |
| `[[tokens_per_s=50]]` | pace of the deltas; without it all are sent at once |
| `[[delay=0.5]]` | seconds of silence before the first delta |
| `[[tool=NAME {"a": 1}]]` | call that tool (several: in parallel), then text; JSON is optional |
| `[[turns=3 NAME {"a": 1}]]` | call that tool in 3 turns, one after the other, then text |
| `[[repeat_call_ids]]` | every call has the id `call_1`, as with some local servers |
| `[[fault=KIND]]` | something goes wrong; `reply.Fault` lists the kinds |
| `[[fault=KIND times=2]]` | … only the first 2 times this text is asked, then all is well |

A directive in the latest user message counts for every model call until the next user message, so
for a whole run. It is not part of the text that rules see. `[[` followed by a lower-case letter
always opens a directive: one that is unknown, given twice or malformed is a 400 that names it.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from stack.demo_model.errors import ApiError, bad_request
from stack.demo_model.reply import Fault, ToolCall

_OPENING = re.compile(r"\[\[([a-z][a-z_]*)")
_TOOL_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_JSON = json.JSONDecoder()
_FAULTS = tuple(fault.value for fault in Fault)


@dataclass(frozen=True, slots=True, kw_only=True)
class Directives:
    """What the directives of one user message ask for."""

    deltas: int | None = None
    large: int | None = None
    tokens_per_s: float | None = None
    delay_s: float = 0.0
    calls: tuple[ToolCall, ...] = ()  #: forced calls of one turn
    turns: int = 1  #: how many turns make these calls
    repeat_call_ids: bool = False
    fault: Fault | None = None
    fault_times: int | None = None  #: None: every time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """One directive as it stands in the text: `[[name=words {json}]]`."""

    name: str
    words: list[str]
    arguments: str | None
    source: str
    end: int

    def malformed(self, expected: str) -> ApiError:
        return _malformed(self.source, f"expected {expected}")

    def number(self, index: int, *, low: float, high: float) -> float:
        """The word at `index` as a number between `low` and `high`."""
        try:
            value = float(self.words[index])
        except (IndexError, ValueError):
            value = float("nan")
        if not low <= value <= high:
            raise self.malformed(f"a number from {low:g} to {high:g}")
        return value

    def integer(self, index: int, *, high: int) -> int:
        """The word at `index` as a whole number from 1 to `high`."""
        value = self.number(index, low=1, high=high)
        if value != int(value):
            raise self.malformed("a whole number")
        return int(value)

    def call(self, index: int) -> ToolCall:
        """The tool named by the last word, which is at `index`, with the JSON as its arguments."""
        if len(self.words) != index + 1 or not _TOOL_NAME.fullmatch(self.words[index]):
            raise self.malformed("a tool's name and, if you like, a JSON object")
        return ToolCall(name=self.words[index], arguments=self.arguments or "{}")


#: Turns a directive as written into the fields of `Directives` that it sets.
_Reader = Callable[[_Written, Directives], dict[str, Any]]


def read(text: str) -> tuple[str, Directives]:
    """The text without its directives, and what they ask for; raises a 400 `ApiError`."""
    directives = Directives()
    if "[[" not in text:
        return text, directives
    kept: list[str] = []
    seen: set[str] = set()
    at = 0
    while opening := _OPENING.search(text, at):
        kept.append(text[at : opening.start()])
        written = _read_one(text, opening)
        directives = _apply(directives, written, seen)
        at = written.end
        if (directives.deltas or 0) > (directives.large or directives.deltas or 0):
            raise written.malformed("no more deltas than characters")
    kept.append(text[at:])
    return "".join(kept).strip(), directives


def _read_one(text: str, opening: re.Match[str]) -> _Written:
    start, name_end = opening.span()
    close = text.find("]]", name_end)
    if close < 0:
        raise _malformed(text[start : start + 60], "it is never closed with ]]")
    brace = text.find("{", name_end, close)
    arguments = None
    words_end = close
    if brace >= 0:  # JSON may itself hold ]] inside a string, so it decides where the end is
        arguments, close = _read_json(text, start, brace)
        words_end = brace
    source = text[start : close + 2]
    rest = text[name_end:words_end].strip()
    if rest and not rest.startswith("="):
        raise _malformed(source, "expected = after its name")
    words = rest[1:].split()
    return _Written(name=opening[1], words=words, arguments=arguments, source=source, end=close + 2)


def _read_json(text: str, start: int, brace: int) -> tuple[str, int]:
    """The JSON object at `brace` as written, and where the directive's `]]` begins."""
    try:
        _, end = _JSON.raw_decode(text, brace)
    except ValueError as error:
        raise _malformed(text[start : start + 60], f"its JSON is broken: {error}") from error
    close = end + len(text[end:]) - len(text[end:].lstrip())
    if not text.startswith("]]", close):
        raise _malformed(text[start : start + 60], "expected ]] after its JSON")
    return text[brace:end], close


def _apply(directives: Directives, written: _Written, seen: set[str]) -> Directives:
    reader = _READERS.get(written.name)
    if reader is None:
        raise _malformed(written.source, f"known are {', '.join(_READERS)}")
    if written.name in seen and written.name != "tool":
        raise _malformed(written.source, "it is given twice")
    seen.add(written.name)
    if seen >= {"tool", "turns"}:
        raise _malformed(written.source, "tool and turns exclude each other")
    if written.arguments and written.name not in {"tool", "turns"}:
        raise written.malformed("no JSON")
    return replace(directives, **reader(written, directives))


def _one_number(field: str, *, low: float, high: float) -> _Reader:
    def reader(written: _Written, _: Directives) -> dict[str, Any]:
        if len(written.words) != 1:
            raise written.malformed("one number")
        return {field: written.number(0, low=low, high=high)}

    return reader


def _one_integer(field: str, *, high: int) -> _Reader:
    def reader(written: _Written, _: Directives) -> dict[str, Any]:
        if len(written.words) != 1:
            raise written.malformed("one whole number")
        return {field: written.integer(0, high=high)}

    return reader


def _tool(written: _Written, before: Directives) -> dict[str, Any]:
    return {"calls": (*before.calls, written.call(0))}


def _turns(written: _Written, _: Directives) -> dict[str, Any]:
    return {"turns": written.integer(0, high=10_000), "calls": (written.call(1),)}


def _repeat_call_ids(written: _Written, _: Directives) -> dict[str, Any]:
    if written.words:
        raise written.malformed("nothing after its name")
    return {"repeat_call_ids": True}


def _fault(written: _Written, _: Directives) -> dict[str, Any]:
    match written.words:
        case [kind]:
            times = None
        case [kind, count] if re.fullmatch(r"times=\d{1,6}", count):
            times = int(count.removeprefix("times="))
        case _:
            raise written.malformed("a kind and, if you like, times=N")
    if kind not in _FAULTS:
        raise written.malformed(f"one of {', '.join(_FAULTS)}")
    return {"fault": Fault(kind), "fault_times": times}


def _malformed(source: str, why: str) -> ApiError:
    return bad_request(
        f"Malformed directive {source}: {why}.", code="malformed_directive", param="input"
    )


_READERS: dict[str, _Reader] = {
    "deltas": _one_integer("deltas", high=1_000_000),
    "large": _one_integer("large", high=50_000_000),
    "tokens_per_s": _one_number("tokens_per_s", low=0.1, high=100_000),
    "delay": _one_number("delay_s", low=0, high=3600),
    "tool": _tool,
    "turns": _turns,
    "repeat_call_ids": _repeat_call_ids,
    "fault": _fault,
}

#: For the handbook's test.
NAMES = tuple(_READERS)
