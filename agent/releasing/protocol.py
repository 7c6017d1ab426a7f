"""What goes over the wire besides REST, as one document, and what has changed between two of it.

Frames, events and what the processes say to each other come as JSON schemas of the classes that
read them; codes from their tables. What is written by hand where it is sent (frames of the gateway,
requests in OpenAI's shapes, names of CUSTOM events) comes from pages that tests hold to the code.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from ag_ui.core import Event
from pydantic import BaseModel, TypeAdapter

from agent.releasing.schemas import Change, Comparison, Way
from shared.protocol.codes import MEANINGS, Close
from shared.protocol.frames import CLIENT_FRAME, PROTOCOL_VERSION, SUBPROTOCOL
from shared.protocol.record import (
    Catalogue,
    CatalogueAnswer,
    ClaimAnswer,
    ClaimRequest,
    Commit,
    CommitAnswer,
    Death,
    Heartbeat,
    HeartbeatAnswer,
)

_PAGES: Final = ("docs/protocol.md", "docs/openai-api.md", "docs/ag-ui.md")
_TAKEN: Final[tuple[type[BaseModel], ...]] = (ClaimRequest, Heartbeat, Catalogue, Commit, Death)
_GIVEN: Final[tuple[type[BaseModel], ...]] = (
    *(ClaimAnswer, HeartbeatAnswer, CatalogueAnswer, CommitAnswer),
)
_JsonObject = Mapping[str, Any]


def protocol_document(root: Path) -> dict[str, Any]:
    """The protocol of the code at `root`.

    Raises:
        OSError: a page is not there.
    """
    pages = "\n".join((root / page).read_text("utf-8") for page in _PAGES)
    event: TypeAdapter[Any] = TypeAdapter(Event)
    return {
        "protocol": {"version": str(PROTOCOL_VERSION), "subprotocol": SUBPROTOCOL},
        "codes": {
            code.value: f"{meaning.status}, {'again' if meaning.retryable else 'not again'}"
            for code, meaning in MEANINGS.items()
        },
        "closes": {close.name: str(int(close)) for close in Close},
        "requests": dict.fromkeys(_requests(pages), ""),
        "frames": dict.fromkeys(_frames(pages), ""),
        "custom events": dict.fromkeys(re.findall(r"`(baton\.[a-z]+)`", pages), ""),
        "schemas": {
            Way.TAKEN: {"client frame": CLIENT_FRAME.json_schema()}
            | {one.__name__: one.model_json_schema() for one in _TAKEN},
            Way.GIVEN: {"event": event.json_schema(mode="serialization")}
            | {one.__name__: one.model_json_schema(mode="serialization") for one in _GIVEN},
        },
    }


def protocol_changes(old: _JsonObject, new: _JsonObject) -> list[Change]:
    """Every difference that the other side could notice."""
    found: list[Change] = []
    for part in ("protocol", "codes", "closes", "requests", "frames", "custom events"):
        found += _entries(part, old.get(part, {}), new.get(part, {}))
    for way in Way:
        was, now = old["schemas"][way], new["schemas"][way]
        found += _entries("messages", dict.fromkeys(was, ""), dict.fromkeys(now, ""))
        for name in sorted(was.keys() & now.keys()):
            comparison = Comparison(was[name], now[name], way)
            comparison.schemas(was[name], now[name], name)
            found += comparison.found
    return list(dict.fromkeys(found))  # several messages share what is inside


def _entries(part: str, was: _JsonObject, now: _JsonObject) -> list[Change]:
    gone = [Change(f"{part}, {name}", "is gone", True) for name in sorted(was.keys() - now.keys())]
    come = [Change(f"{part}, {name}", "is new", False) for name in sorted(now.keys() - was.keys())]
    other = [
        Change(f"{part}, {name}", f"{was[name]} → {now[name]}", True)
        for name in sorted(was.keys() & now.keys())
        if was[name] != now[name]
    ]
    return gone + other + come


def _requests(pages: str) -> list[str]:
    """Methods and paths, whatever their variables are called."""
    found = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`\s?]+)", pages)
    return [re.sub(r"\{[^}]*\}", "{}", one) for one in found]


def _frames(pages: str) -> list[str]:
    """What the gateway sends: each op and each of its fields, `ack` and `ack.runId`."""
    _, _, after = pages.partition("### Gateway to client\n")
    found = []
    for op, fields in re.findall(r"^\| (.*?) \| (.*) \|$", after.partition("```")[0], re.MULTILINE):
        named = re.sub(r"\([^)]*\)|for `\w+`", "", fields)  # what explains a field
        for name in re.findall(r"`(\w+)`", op):
            found += [name, *(f"{name}.{field}" for field in re.findall(r"`(\w+)`", named))]
    return found
