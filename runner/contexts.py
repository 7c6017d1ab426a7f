"""The run's context object: what code changes in it belongs to the step that comes next.

Tools and hooks may keep things in the context (a dict, dataclass or pydantic model), and later code
may look at them. Replayed tools and hooks do not run, so each step records what has changed in the
context since the step before, and replay puts it back into the same object. Fields that JSON cannot
carry are left alone.
"""

import contextlib
import dataclasses
from collections.abc import Iterator, MutableMapping
from functools import lru_cache
from typing import Any, get_type_hints

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from baton.context import RunContext
from runner import codec
from shared.protocol.record import ClaimedRun

Changes = dict[str, Any]


class ContextWatch:
    """One context object, named the same in replay, and what is known of its fields."""

    def __init__(self, name: str, value: Any) -> None:
        self.name, self.value = name, value
        self._known = dict(_fields(value))

    @property
    def complete(self) -> bool:
        """Whether JSON carries all that the object holds."""
        value = self.value
        names = {name for name, _ in _plain_fields(value)}
        if isinstance(value, MutableMapping):
            held = set(value)
        elif isinstance(value, BaseModel) or dataclasses.is_dataclass(value):
            held = names | set(getattr(value, "__dict__", ()))
        else:
            return False
        return names == held == {name for name, _ in _fields(value)}

    def changes(self) -> Changes | None:
        """What has changed since the last look (`of`, `set`, `gone`); `None` if nothing has."""
        now = dict(_fields(self.value))
        changed = {
            name: orjson.Fragment(data)
            for name, data in now.items()
            if self._known.get(name) != data
        }
        gone = [name for name in self._known if name not in now]
        self._known = now
        if not changed and not gone:
            return None
        return {"of": self.name, "set": changed, "gone": gone}

    def apply(self, changes: Changes) -> None:
        """Put recorded changes back in place."""
        for name, plain in changes.get("set", {}).items():
            _put(self.value, name, plain)
        for name in changes.get("gone", ()):
            if isinstance(self.value, MutableMapping):
                self.value.pop(name, None)
        self._known = dict(_fields(self.value))


def _fields(value: Any) -> Iterator[tuple[str, bytes]]:
    """Fields that JSON can carry, as JSON."""
    for name, one in _plain_fields(value):
        with contextlib.suppress(TypeError, ValueError, RecursionError):
            yield name, orjson.dumps(codec.plain(one))


def _plain_fields(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, MutableMapping):
        yield from ((name, one) for name, one in list(value.items()) if isinstance(name, str))
    elif isinstance(value, BaseModel):
        yield from ((name, getattr(value, name)) for name in type(value).model_fields)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield field.name, getattr(value, field.name, None)


def _put(value: Any, name: str, plain: Any) -> None:
    if isinstance(value, MutableMapping):
        value[name] = plain
        return
    with contextlib.suppress(dataclasses.FrozenInstanceError, ValidationError, AttributeError):
        setattr(value, name, _typed(type(value), name, plain))


def _typed(kind: type, name: str, plain: Any) -> Any:
    """The value as the field declares it: a date stays a date, a model a model."""
    adapter = _adapters(kind).get(name)
    try:
        return adapter.validate_python(plain) if adapter else plain
    except ValidationError:
        return plain


@lru_cache(maxsize=256)
def _adapters(kind: type) -> dict[str, TypeAdapter[Any]]:
    try:
        hints = get_type_hints(kind)
    except Exception:  # noqa: BLE001 - annotations are others' code
        return {}
    found: dict[str, TypeAdapter[Any]] = {}
    for name, hint in hints.items():
        with contextlib.suppress(Exception):  # a field of a type that pydantic does not know
            found[name] = TypeAdapter(hint)
    return found


def context_of(claimed: ClaimedRun) -> RunContext:
    """What agent code gets to know of its run."""
    return RunContext(
        run_id=claimed.run_id,
        thread_id=claimed.thread_id,
        user_id=str(claimed.user),
        agent=claimed.agent,
        project_id=str(claimed.project) if claimed.project else None,
        metadata=dict(claimed.input.get("forwardedProps") or {}),
    )
