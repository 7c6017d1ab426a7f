"""What has changed between two OpenAPI documents, for those who call what they describe."""

from collections.abc import Mapping
from typing import Any

from agent.releasing.schemas import Change, Comparison, Way

_METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_JsonObject = Mapping[str, Any]


def openapi_changes(old: _JsonObject, new: _JsonObject) -> list[Change]:
    """Every difference that a caller could notice."""
    return _Documents(old, new).changes()


class _Documents:
    def __init__(self, old: _JsonObject, new: _JsonObject) -> None:
        self._was, self._now = _operations(old), _operations(new)
        self._taken = Comparison(old, new, Way.TAKEN)
        self._given = Comparison(old, new, Way.GIVEN)
        self._found: list[Change] = []

    def changes(self) -> list[Change]:
        for name in sorted(self._was.keys() - self._now.keys()):
            self._tell(name, "is gone", breaking=True)
        for name in sorted(self._now.keys() - self._was.keys()):
            self._tell(name, "is new", breaking=False)
        for name in sorted(self._was.keys() & self._now.keys()):
            was, now = self._was[name], self._now[name]
            self._parameters(name, _parameters(was), _parameters(now))
            self._body(name, was.get("requestBody"), now.get("requestBody"))
            self._answers(name, was.get("responses", {}), now.get("responses", {}))
        return self._found + self._taken.found + self._given.found

    def _tell(self, where: str, what: str, *, breaking: bool) -> None:
        self._found.append(Change(where, what, breaking))

    def _parameters(self, where: str, was: _JsonObject, now: _JsonObject) -> None:
        for name in sorted(was.keys() - now.keys()):
            self._tell(f"{where}, {name}", "is gone", breaking=True)
        for name in sorted(now.keys() - was.keys()):
            must = bool(now[name].get("required"))
            words = "is new, and required" if must else "is new"
            self._tell(f"{where}, {name}", words, breaking=must)
        for name in sorted(was.keys() & now.keys()):
            if now[name].get("required") and not was[name].get("required"):
                self._tell(f"{where}, {name}", "is required now", breaking=True)
            schemas = was[name].get("schema", {}), now[name].get("schema", {})
            self._taken.schemas(*schemas, f"{where}, {name}")

    def _body(self, where: str, was: _JsonObject | None, now: _JsonObject | None) -> None:
        where = f"{where}, body"
        if was is None or now is None:
            if was is not now:
                must = now is None or bool(now.get("required"))
                words = "is gone" if now is None else "is new, and required" if must else "is new"
                self._tell(where, words, breaking=must)
            return
        if now.get("required") and not was.get("required"):
            self._tell(where, "is required now", breaking=True)
        self._content(where, was, now, self._taken)

    def _answers(self, where: str, was: _JsonObject, now: _JsonObject) -> None:
        for status in sorted(was.keys() - now.keys()):
            self._tell(f"{where}, {status}", "is gone", breaking=status.startswith("2"))
        for status in sorted(now.keys() - was.keys()):
            self._tell(f"{where}, {status}", "is new", breaking=False)
        for status in sorted(was.keys() & now.keys()):
            self._content(f"{where}, {status}", was[status], now[status], self._given)

    def _content(
        self, where: str, old: _JsonObject, new: _JsonObject, comparison: Comparison
    ) -> None:
        was, now = old.get("content", {}), new.get("content", {})
        for kind in sorted(was.keys() - now.keys()):
            self._tell(where, f"{kind} is gone", breaking=True)
        for kind in sorted(now.keys() - was.keys()):
            self._tell(where, f"{kind} is new", breaking=False)
        for kind in sorted(was.keys() & now.keys()):
            schemas = was[kind].get("schema", {}), now[kind].get("schema", {})
            comparison.schemas(*schemas, where)


def _operations(document: _JsonObject) -> dict[str, dict[str, Any]]:
    """Operations by method and path; with the parameters that all of a path share."""
    found = {}
    for path, item in document.get("paths", {}).items():
        shared = item.get("parameters", [])
        for method in _METHODS:
            if method in item:
                own = item[method].get("parameters", [])
                operation = item[method] | {"parameters": [*shared, *own]}
                found[f"{method.upper()} {path}"] = operation
    return found


def _parameters(operation: _JsonObject) -> dict[str, Any]:
    return {f"{one['in']} {one['name']}": one for one in operation["parameters"]}
