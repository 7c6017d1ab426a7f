"""Cuts texts into deltas, encoded as JSON strings.

Benchmarks ask for the same answers again and again, so the pieces of recent texts are kept.
"""

import re
from functools import lru_cache
from itertools import pairwise

import orjson

_WORDS = re.compile(r"\S+\s*|\s+")

#: OpenAI streams a call's arguments in pieces of a token or two.
_ARGUMENTS_PIECE = 12

#: Texts longer than this are cut anew each time, so that the cache stays small.
_MAX_CACHED_LENGTH = 100_000


def of_text(text: str, count: int | None) -> tuple[bytes, ...]:
    """The text word by word, or in exactly `count` pieces of nearly the same length."""
    if len(text) > _MAX_CACHED_LENGTH:
        return _of_text(text, count)
    return _cached(text, count)


def of_arguments(arguments: str) -> tuple[bytes, ...]:
    """A call's arguments in small pieces; `{}` is one."""
    starts = range(0, len(arguments), _ARGUMENTS_PIECE)
    return tuple(_encoded(arguments[start : start + _ARGUMENTS_PIECE]) for start in starts)


def _of_text(text: str, count: int | None) -> tuple[bytes, ...]:
    if count is None:
        return tuple(_encoded(word) for word in _WORDS.findall(text))
    bounds = [len(text) * index // count for index in range(count + 1)]
    return tuple(_encoded(text[start:end]) for start, end in pairwise(bounds))


_cached = lru_cache(maxsize=128)(_of_text)


def _encoded(piece: str) -> bytes:
    return orjson.dumps(piece)
