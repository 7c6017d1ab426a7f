"""The tap: plain deltas are shown as they are read, and never become objects of the SDK.

Everything else of a stream takes the stock path: through openai's classes and the SDK's models,
which build the response. So what comes out is theirs, and whatever is unusual is treated by them.

Deltas of Responses end here, for the server says the whole again at the end. Those of Chat
Completions the SDK has to put together. It gets the first of a kind as ever; those that follow and
are alike are held back and passed on as one, whose delta is not shown again. What the SDK makes of
such a delta is not guessed: it is what it has made of the first.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import orjson
from openai._streaming import ServerSentEvent

from runner.models.sse import EventSplitter
from runner.translate import DELTAS

#: Fields of a chat delta that text comes in, and lists in it that mean nothing while empty.
_TEXTS = frozenset({"content", "reasoning_content", "reasoning", "refusal"})
_LISTS = frozenset({"tool_calls", "annotations", "thinking_blocks"})


class Delta:
    """All that is read of a delta."""

    __slots__ = ("delta", "output_index", "type")

    def __init__(self, type_: str, delta: str, output_index: Any) -> None:
        self.type, self.delta, self.output_index = type_, delta, output_index


class _Shape(NamedTuple):
    """What chat deltas have in common that the SDK treats alike."""

    answer: Any  #: the id that the server gave the answer
    field: str
    call: int | None  #: the tool call's index
    blank: bool  #: an empty content stands beside it


class _Plain(NamedTuple):
    """A chat delta with nothing in it but text."""

    shape: _Shape
    text: str
    chunk: dict[str, Any]


class Tap:
    """One call's; `show` is given its events, in order. A decoder of events for openai's client."""

    def __init__(self, show: Callable[[Any], None]) -> None:
        self._show = show
        self._first: _Plain | None = None  # what went to the SDK last, if it was plain
        self._made: list[Any] = []  # the deltas that the SDK made of it
        self._held: list[str] = []  # texts of those that followed
        self._last_held: _Plain | None = None
        self._repeating = False
        #: Why a server of Chat Completions says that its answer ends.
        self.finish_reason: str | None = None

    def pass_on(self, event: Any) -> None:
        """Show an event of the SDK, unless it repeats what has been held back."""
        if event.type.endswith(".delta"):
            if self._repeating:
                return
            if len(self._made) < 2:
                self._made.append(event)
        self._show(event)

    async def aiter_bytes(self, reads: AsyncIterator[bytes]) -> AsyncIterator[ServerSentEvent]:
        """What of a stream goes on to the SDK."""
        splitter = EventSplitter()
        async for read in reads:
            for name, data in splitter.feed(read):
                if not self._takes(name, data):
                    for joined in self._joined():
                        yield joined
                    yield ServerSentEvent(event=name, data=data)
        splitter.finish()
        for joined in self._joined():
            yield joined

    def _takes(self, name: str | None, data: str) -> bool:
        """Whether an event was a plain delta, which is shown by now."""
        given = _parsed(data) if name is None or not name.startswith("thread.") else None
        if given is not None and (delta := _of_responses(given)) is not None:
            self._show(delta)
            return True
        plain = _of_chat(given) if given is not None else None
        if plain is not None and self._is_known(plain):
            made = self._made[0]
            self._show(Delta(made.type, plain.text, made.output_index))
            self._held.append(plain.text)
            self._last_held = plain
            return True
        if plain is None and given is not None:
            self.finish_reason = _finish_of(given) or self.finish_reason
        self._first = plain
        self._made.clear()
        return False

    def _is_known(self, plain: _Plain) -> bool:
        """Whether the SDK got one like it just before, and made one delta of it."""
        first = self._first
        alike = first is not None and first.shape == plain.shape and len(self._made) == 1
        return alike and first is not None and self._made[0].delta == first.text

    def _joined(self) -> Iterator[ServerSentEvent]:
        """What is held back, as one."""
        if self._last_held is not None:
            shape, _, chunk = self._last_held
            text = "".join(self._held)
            self._held, self._last_held = [], None
            delta = chunk["choices"][0]["delta"]
            if shape.call is None:
                delta[shape.field] = text
            else:
                delta["tool_calls"][0]["function"]["arguments"] = text
            self._repeating = True
            yield _Joined(chunk)
            self._repeating = False


#: The tap of the call that is being made in this context.
TAP: ContextVar[Tap | None] = ContextVar("baton_tap", default=None)


@contextmanager
def tapped(show: Callable[[Any], None]) -> Iterator[Tap]:
    """A tap for the call that is made in the block; other clients than ours leave it alone."""
    tap = Tap(show)
    before = TAP.set(tap)
    try:
        yield tap
    finally:
        TAP.reset(before)


class _Joined(ServerSentEvent):
    def __init__(self, chunk: dict[str, Any]) -> None:
        super().__init__()
        self._chunk = chunk

    def json(self) -> Any:
        return self._chunk


def _parsed(data: str) -> dict[str, Any] | None:
    """An event that may be a delta; what else it may be is read where it belongs."""
    if '.delta"' not in data and '"choices"' not in data:
        return None
    try:
        given = orjson.loads(data)
    except orjson.JSONDecodeError:  # the stock reader takes more, or says what is wrong
        return None
    return given if type(given) is dict and not given.get("error") else None


def _of_responses(given: dict[str, Any]) -> Delta | None:
    kind = given.get("type")
    if type(kind) is not str or kind not in DELTAS:
        return None
    text = given.get("delta")
    return Delta(kind, text, given.get("output_index")) if type(text) is str else None


def _of_chat(given: dict[str, Any]) -> _Plain | None:
    choices = given.get("choices")
    if "type" in given or given.get("usage") is not None or type(choices) is not list:
        return None
    choice = choices[0] if len(choices) == 1 else None
    if (
        type(choice) is not dict
        or choice.get("index") != 0
        or type(choice.get("delta")) is not dict
    ):
        return None
    if choice.get("finish_reason") is not None or choice.get("logprobs") is not None:
        return None
    delta = choice["delta"]
    said = {name: value for name, value in delta.items() if _says(name, value)}
    if len(said) != 1:
        return None
    ((field, value),) = said.items()
    call = None
    if field == "tool_calls":
        call, value = _argued(value)
    if type(value) is not str or not (field in _TEXTS or call is not None):
        return None
    shape = _Shape(given.get("id"), field, call, delta.get("content") == "")
    return _Plain(shape, value, given)


def _finish_of(given: dict[str, Any]) -> str | None:
    """The finish reason of the first choice, where there is one."""
    for choice in given["choices"] if type(given.get("choices")) is list else ():
        if type(choice) is dict and choice.get("index") == 0:
            reason = choice.get("finish_reason")
            return reason if type(reason) is str else None
    return None


def _says(name: str, value: Any) -> bool:
    """Whether a field of a delta says anything."""
    if value is None or name == "role":
        return False
    return not ((name in _TEXTS and value == "") or (name in _LISTS and value == []))


def _argued(calls: Any) -> tuple[int | None, str | None]:
    """The index of a call, and more of its arguments; nothing where there is more to it."""
    call = calls[0] if type(calls) is list and len(calls) == 1 else None
    if type(call) is not dict or type(call.get("index")) is not int:
        return None, None
    function = call.get("function")
    rest = {**call, "index": None, "function": None}
    if type(function) is not dict or rest.pop("type", None) not in (None, "function"):
        return None, None
    arguments = function.get("arguments")
    rest |= {**function, "arguments": None}
    if any(value not in (None, "") for value in rest.values()) or not arguments:
        return None, None
    return call["index"], arguments
