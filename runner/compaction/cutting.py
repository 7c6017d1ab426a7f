"""Where the input of a model call may be cut in two, and what the first half is as text: rules."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from runner.compaction.agent import tokens_of
from runner.models.digest import plain

Items = Sequence[Any]

_ASKED = ("developer", "system", "user")
_TOLD = ("developer", "system")
#: Where items of hosted tools have what is worth reading.
_HOSTED = ("action", "name", "arguments", "output", "result")


def cut(items: Items, *, beyond: int, room: int) -> int | None:
    """How many items to summarise: as few as leave no more than `room` tokens behind them.

    A call is never torn from its result, nor what a model thought from what it then did; `beyond`
    so many are summarised already. `None`: there is no such place.
    """
    sizes = [tokens_of(plain(one)) for one in items]
    left = sum(sizes)
    behind = [left - one for one in accumulate(sizes, initial=0)]
    places = (place for place in _places(items) if place > beyond)
    return next((place for place in places if behind[place] <= room), None)


def kept(items: Items, count: int, *, room: int) -> list[int]:
    """Which of the first `count` items stay as they are beside their summary.

    Instructions do, and what a person has said last, if that is not most of what there is room for.
    """
    roles = [_role(one) for one in items[:count]]
    last = next((place for place in reversed(range(count)) if roles[place] == "user"), None)
    short = last is not None and tokens_of(plain(items[last])) <= room // 2
    return [place for place, role in enumerate(roles) if role in _TOLD or (short and place == last)]


def line(item: Any) -> str:
    """An item as the summariser reads it."""
    one: dict[str, Any] = plain(item)
    kind = one.get("type") or "message"
    if kind == "message":
        return f"{one.get('role')}: {_text(one.get('content'))}"
    if kind == "function_call":
        return f"assistant: [calls {one.get('name')} with {one.get('arguments')}]"
    if kind == "function_call_output":
        return f"tool: {_text(one.get('output'))}"
    if kind == "reasoning":
        return f"assistant thinks: {_text(one.get('summary'))}"
    return f"{kind}: {_text([one[name] for name in _HOSTED if name in one])}"


def call_of(item: Any) -> str | None:
    """The call that an item is the result of, if it is one."""
    one = plain(item)
    return one["call_id"] if _answers(one) else None


def call_ids(items: Items) -> set[str]:
    """Calls whose results are among some items."""
    return {id_ for one in items if (id_ := call_of(one)) is not None}


def _places(items: Items) -> list[int]:
    """Counts of items after which one may cut, none excluded, all perhaps included."""
    found: list[int] = []
    asked: set[str] = set()
    before_answers = False
    for place, item in enumerate(items):
        one = plain(item)
        starts = _role(one) in _ASKED or (before_answers and not _answers(one))
        if place and starts and not asked:
            found.append(place)
        call = one.get("call_id")
        before_answers = _answers(one)
        if isinstance(call, str):
            asked.discard(call) if before_answers else asked.add(call)
    if before_answers and not asked:
        found.append(len(items))
    return found


def _answers(item: dict[str, Any]) -> bool:
    return isinstance(item.get("call_id"), str) and str(item.get("type")).endswith("_output")


def _role(item: Any) -> str | None:
    one = plain(item)
    role = one.get("role") if one.get("type", "message") == "message" else None
    return role if isinstance(role, str) else None


def _text(content: Any) -> str:
    """All text of some content; what is no text is named by its kind or its name."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        text = content.get("text")
        named = content.get("filename") or content.get("query") or content.get("type") or "data"
        return text if isinstance(text, str) else f"[{named}]"
    return " ".join(_text(one) for one in content) if isinstance(content, list) else ""
