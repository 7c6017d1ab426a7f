"""JSON as RFC 8259 and I-JSON (RFC 7493) have it: what `json` lets pass is refused here."""

import json
from typing import Any, NoReturn

#: Deep enough for any honest input; orjson and pydantic give up at 255 levels.
MAX_DEPTH = 100
#: What 64 bits hold, signed or not: orjson writes nothing beyond.
_INTEGERS = range(-(2**63), 2**64)


class NotJsonError(ValueError):
    """The text is not strict JSON; the message says why."""


def loads(text: str | bytes) -> Any:
    """Parse strict JSON.

    Raises:
        NotJsonError: for broken syntax, NaN and Infinity, numbers beyond a double or 64 bits,
            duplicate keys, lone surrogates, NUL, bytes that are not UTF-8, and nesting deeper
            than `MAX_DEPTH`.
    """
    try:
        raw = text if isinstance(text, str) else text.decode()
        raw.encode()
        value = json.loads(
            raw,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_integer,
        )
        if "\\u" in raw:  # only an escape smuggles such characters past the decoding
            _refuse_unstorable(value)
        if raw.count("[") + raw.count("{") > MAX_DEPTH:
            _refuse_deep(value)
    except RecursionError:
        raise NotJsonError("it is nested too deeply") from None
    except UnicodeError:
        raise NotJsonError("it holds text that is not valid Unicode") from None
    except NotJsonError:
        raise
    except ValueError as error:
        raise NotJsonError(f"it is not JSON ({error})") from None
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise NotJsonError("a key appears twice in one object")
    return result


def _refuse_unstorable(value: Any) -> None:
    """Lone surrogates cannot be encoded and NUL cannot be stored."""
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            item.encode()
            if "\x00" in item:
                raise NotJsonError("it holds a NUL character")
        elif isinstance(item, list):
            todo += item
        elif isinstance(item, dict):
            todo += item
            todo += item.values()


def _refuse_deep(value: Any) -> None:
    todo = [(value, 1)]
    while todo:
        item, depth = todo.pop()
        if not isinstance(item, (list, dict)):
            continue
        if depth > MAX_DEPTH:
            raise NotJsonError("it is nested too deeply")
        inner = item.values() if isinstance(item, dict) else item
        todo += ((one, depth + 1) for one in inner)


def _no_constant(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is not a JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise NotJsonError(f"the number {text[:20]} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or int(text) not in _INTEGERS:
        raise NotJsonError(f"the number {text[:20]} is too large")
    return int(text)
