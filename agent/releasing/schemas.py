"""What has changed between two JSON schemas, and whether it breaks whoever goes by the old one.

It depends on who writes: of what we take, nothing may be refused that was taken; of what we give,
nothing may be missing or of another kind. Titles, descriptions and examples say nothing here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

Schema = Mapping[str, Any]

_UPPER: Final = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum")
_LOWER: Final = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum")
_FORM: Final = ("pattern", "format", "multipleOf", "uniqueItems")


class Way(StrEnum):
    """Who writes what a schema speaks of."""

    TAKEN = "taken"  #: others do, and we read it
    GIVEN = "given"  #: we do


@dataclass(frozen=True, slots=True)
class Change:
    """One difference; `breaking` says that what went by the old one may fail with the new one."""

    where: str
    what: str
    breaking: bool

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Comparison:
    """Compares schemas of two documents; a definition that several share is told of once."""

    def __init__(self, old: Schema, new: Schema, way: Way) -> None:
        self._old, self._new, self._taken = old, new, way is Way.TAKEN
        self._seen: set[tuple[str, str]] = set()
        self.found: list[Change] = []

    def schemas(self, old: Schema, new: Schema, where: str) -> None:
        """Note the differences of two schemas."""
        was, now = dict(_alternatives(old)), dict(_alternatives(new))
        gone, come = [one for one in was if one not in now], [one for one in now if one not in was]
        if len(gone) == len(come) == 1:  # what is left over on both sides is the same thing
            self._one(was[gone[0]], now[come[0]], where)
        else:
            for name in gone:
                self._tell(where, f"is no longer {name}", breaking=self._taken)
            for name in come:
                self._tell(where, f"may be {name} now", breaking=not self._taken)
        for name in was.keys() & now.keys():
            self._one(was[name], now[name], where)

    def _tell(self, where: str, what: str, *, breaking: bool) -> None:
        self.found.append(Change(where, what, breaking))

    def _one(self, old: Schema, new: Schema, where: str) -> None:
        """Two schemas without alternatives."""
        if "$ref" in old or "$ref" in new:
            if "$ref" in old and "$ref" in new:
                pair = (old["$ref"], new["$ref"])
                if pair in self._seen:
                    return
                self._seen.add(pair)
            where = _last(new["$ref"]) if "$ref" in new else where
            self.schemas(_resolved(old, self._old), _resolved(new, self._new), where)
            return
        if self._types(old.get("type"), new.get("type"), where):
            self._values(_values(old), _values(new), where)
            self._limits(old, new, where)
            self._fields(old, new, where)
            self._parts(old, new, where)

    def _types(self, was: Any, now: Any, where: str) -> bool:
        """Whether it makes sense to look any deeper."""
        if was == now:
            return True
        wider = now is None or (was, now) == ("integer", "number")
        narrower = was is None or (was, now) == ("number", "integer")
        fine = wider if self._taken else narrower
        self._tell(where, f"{was or 'anything'} → {now or 'anything'}", breaking=not fine)
        return False

    def _values(self, was: list[Any] | None, now: list[Any] | None, where: str) -> None:
        if was is None or now is None:
            if was != now:
                closed = now is not None
                words = "only certain values now" if closed else "any value now"
                self._tell(where, words, breaking=closed and self._taken)
            return
        for value in (one for one in was if one not in now):
            self._tell(where, f"is no longer {value!r}", breaking=self._taken)
        for value in (one for one in now if one not in was):
            # Who meets a value that it does not know has been told of the others by name.
            self._tell(where, f"may be {value!r} now", breaking=False)

    def _limits(self, old: Schema, new: Schema, where: str) -> None:
        for name in (*_UPPER, *_LOWER, *_FORM):
            was, now = old.get(name), new.get(name)
            if was != now:
                tighter = now is not None and (was is None or _tighter(name, was, now))
                words = f"{name} {_shown(was)} → {_shown(now)}"
                self._tell(where, words, breaking=self._taken and tighter)

    def _fields(self, old: Schema, new: Schema, where: str) -> None:
        was, now = old.get("properties", {}), new.get("properties", {})
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(was.keys() - now.keys()):
            self._tell(f"{where}.{name}", "is gone", breaking=True)
        for name in sorted(now.keys() - was.keys()):
            must = self._taken and name in needs
            words = "is new, and required" if must else "is new"
            self._tell(f"{where}.{name}", words, breaking=must)
        for name in sorted(was.keys() & now.keys()):
            if name in needs - needed:
                self._tell(f"{where}.{name}", "is required now", breaking=self._taken)
            elif name in needed - needs:
                self._tell(f"{where}.{name}", "may be missing now", breaking=not self._taken)
            self.schemas(was[name], now[name], f"{where}.{name}")

    def _parts(self, old: Schema, new: Schema, where: str) -> None:
        """What stands in lists and in fields without names."""
        for name, title in (("items", "[]"), ("additionalProperties", ".*")):
            if name not in old and name not in new:
                continue
            was, now = _schema(old.get(name)), _schema(new.get(name))
            if was is not None and now is not None:
                self.schemas(was, now, f"{where}{title}")
            elif was is not now:
                words = "takes nothing more" if now is None else "may have more"
                self._tell(f"{where}{title}", words, breaking=self._taken and now is None)
        was, now = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(was) != len(now):  # they are read by place
            self._tell(where, f"{len(was)} places → {len(now)}", breaking=True)
        for place, (one, other) in enumerate(zip(was, now, strict=False)):
            self.schemas(one, other, f"{where}[{place}]")


def _alternatives(schema: Schema) -> Iterable[tuple[str, Schema]]:
    """What a value may be, each by a name that it keeps; a schema that leaves no choice is one."""
    if branches := schema.get("anyOf") or schema.get("oneOf"):
        for branch in branches:
            yield from _alternatives(branch)
    elif len(merged := schema.get("allOf", ())) == 1:
        yield from _alternatives(merged[0])
    elif isinstance(types := schema.get("type"), list):
        for one in types:
            yield str(one), {**schema, "type": one}
    else:
        yield _name(schema), schema


def _name(schema: Schema) -> str:
    if "$ref" in schema:
        return _last(schema["$ref"])
    if (values := _values(schema)) is not None and len(values) == 1:
        return repr(values[0])
    if schema.get("type") == "array":
        inner = _schema(schema.get("items"))
        return f"array of {_name(inner)}" if inner else "array"
    return str(schema.get("type") or "anything")


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        found: Any = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema


def _schema(value: Any) -> Schema | None:
    """`True` and nothing at all are any schema, `False` is none."""
    return None if value is False else {} if value is None or value is True else value


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found: list[Any] | None = schema.get("enum")
    return found


def _tighter(name: str, was: Any, now: Any) -> bool:
    if name in _FORM:
        return True
    return bool(now < was if name in _UPPER else now > was)


def _last(reference: str) -> str:
    return reference.rpartition("/")[2]


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
