"""What a recorded release has left behind, and whether this one understands it.

`releases/<version>` holds what processes of that release said to each other, to clients and to the
stores, byte for byte. Everything is read as it is, and once more with fields beside it that nobody
knows, as the release after this one may send them.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

from agent.rehearsal import rehearsal_of
from shared.bus.events import entries_of, parse_announcement
from shared.export import lines_of
from shared.judge import judge
from shared.protocol.brackets import Brackets
from shared.protocol.frames import CLIENT_FRAME, CLIENT_OPS
from shared.protocol.record import (
    Catalogue,
    CatalogueAnswer,
    ClaimAnswer,
    ClaimRequest,
    Commit,
    CommitAnswer,
    Heartbeat,
    HeartbeatAnswer,
)
from shared.protocol.rehearsal import Ending
from shared.protocol.transcript import messages_of
from shared.signing import PublicKey

RELEASES: Final = Path(__file__).resolve().parent.parent / "releases"
#: The agents that recorded runs are of.
AGENTS: Final = RELEASES / "agents"

#: A field and an event of a release to come.
_FIELD: Final = {"fieldOfTheNextRelease": {"x": 1}}
_EVENT: Final = {"type": "OF_THE_NEXT_RELEASE", "messageId": "m", "toolCallId": "c", "delta": "x"}

_Model = type[BaseModel]
#: Requests of runners, what each brings, and what toolsvc answers.
_ROUTES: Final[list[tuple[str, _Model, _Model]]] = [
    (r"/claims", ClaimRequest, ClaimAnswer),
    (r"/runners/[^/]+/heartbeat", Heartbeat, HeartbeatAnswer),
    (r"/runners/[^/]+/catalogue", Catalogue, CatalogueAnswer),
    (r"/runs/[^/]+/(steps|finish)", Commit, CommitAnswer),
]


@dataclass(slots=True)
class Findings:
    """How much of each kind was tried, and what was not understood."""

    tried: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def judge(self, kind: str, where: str, understood: Callable[[], bool]) -> None:
        """Try one thing; it is a problem also where it raises."""
        self.tried[kind] = self.tried.get(kind, 0) + 1
        try:
            why = None if understood() else "something of it is lost"
        except Exception as error:  # noqa: BLE001 - whatever a later release stumbles over
            why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        if why:
            self.problems.append(f"{kind}, {where}: {why}")


def recorded_releases() -> list[Path]:
    """The folders of releases, the oldest first."""
    found = [one for one in RELEASES.iterdir() if re.fullmatch(r"\d+(\.\d+)*", one.name)]
    return sorted(found, key=lambda folder: [int(part) for part in folder.name.split(".")])


def examined(folder: Path) -> Findings:
    """Everything that a release has left, read by this one.

    Raises:
        CliError: its runs could not be tried.
    """
    found = Findings()
    _messages(folder, found)
    _frames(folder, found)
    _events(folder, found)
    _announcements(folder, found)
    _exports(folder, found)
    _runs(folder, found)
    return found


# ---------------------------------------------------------------------------------- processes
def _messages(folder: Path, found: Findings) -> None:
    """A runner's requests, as toolsvc reads them, and its answers, as a runner does."""
    for number, one in enumerate(_lines(folder / "exchanges.ndjson"), 1):
        for path, request, answer in _ROUTES:
            if not re.fullmatch(path, one["path"]):
                continue
            where = f"{one['path']} in line {number}"
            found.judge("requests of runners", where, lambda: _reads(request, one["sent"]))  # noqa: B023
            found.judge("answers of toolsvc", where, lambda: _reads(answer, one["answered"]))  # noqa: B023


def _reads(kind: _Model, text: str) -> bool:
    """Whether all that was said is there, and nothing changes with what nobody knows."""
    told = json.loads(text)
    read = kind.model_validate_json(text)
    later = kind.model_validate(grown(read, told))
    return covers(read.model_dump(mode="json"), told) and later == read


def grown(read: Any, told: Any) -> Any:
    """What was told with a further field in each message and in those inside of it."""
    if isinstance(read, BaseModel) and isinstance(told, dict):
        named = {field.alias or name: name for name, field in type(read).model_fields.items()}
        inner = {
            name: grown(getattr(read, named[name], None), value) if name in named else value
            for name, value in told.items()
        }
        return inner | _FIELD
    if isinstance(read, list) and isinstance(told, list) and len(read) == len(told):
        return [grown(one, other) for one, other in zip(read, told, strict=True)]
    if isinstance(read, dict) and isinstance(told, dict):
        return {name: grown(read.get(name), value) for name, value in told.items()}
    return told


def covers(read: Any, told: Any) -> bool:
    """Whether all that was told is there; more may stand beside it."""
    if isinstance(told, dict):
        return isinstance(read, dict) and all(
            name in read and covers(read[name], value) for name, value in told.items()
        )
    if isinstance(told, list):
        return isinstance(read, list) and len(told) == len(read) and all(map(covers, read, told))
    return bool(told == read)


# ---------------------------------------------------------------------------------- clients
def _frames(folder: Path, found: Findings) -> None:
    """What clients said."""
    for number, one in enumerate(_lines(folder / "frames.ndjson"), 1):
        told = json.loads(one["frame"])
        if one["from"] == "client" and told["op"] in CLIENT_OPS:
            found.judge("frames of clients", f"line {number}", lambda: _understands(told))  # noqa: B023


def _understands(told: dict[str, Any]) -> bool:
    read = CLIENT_FRAME.validate_python(told)
    later = CLIENT_FRAME.validate_python(grown(read, told))
    # AG-UI's own messages keep what they do not know.
    return covers(later.model_dump(mode="json"), read.model_dump(mode="json"))


# ---------------------------------------------------------------------------------- stores
def _events(folder: Path, found: Findings) -> None:
    """Events in streams: they make the same conversation with kinds beside them that are new."""
    streams: dict[str, list[Any]] = json.loads((folder / "streams.json").read_text())
    for key, entries in streams.items():
        raw = [(id_.encode(), _encoded(told)) for id_, told in entries]
        if key.startswith("thread:"):
            found.judge("streams of events", key, lambda: _streams(raw))  # noqa: B023


def _streams(raw: list[tuple[bytes, dict[bytes, bytes]]]) -> bool:
    later = [(id_, told | {b"fieldOfTheNextRelease": b"x"}) for id_, told in raw]
    entries = entries_of(raw)
    events = [json.loads(entry.data) for entry in entries]
    more = [one for event in events for one in (_EVENT, event | _FIELD, _EVENT)]
    return (
        len(entries) == len(raw)
        and entries_of(later) == entries
        and messages_of(more) == messages_of(events)
        and _closing(more) == _closing(events)
    )


def _closing(events: list[dict[str, Any]]) -> list[tuple[Any, Any]]:
    closing = Brackets(events).closing()
    return [(event["type"], event.get("messageId", event.get("toolCallId"))) for event in closing]


def _announcements(folder: Path, found: Findings) -> None:
    """What was published with the events: a gateway passes it on unparsed."""
    for number, one in enumerate(_lines(folder / "announced.ndjson"), 1):
        if one["channel"].startswith("thread:"):
            said = one["message"].encode()
            found.judge(
                "announcements",
                f"line {number}",
                lambda: all(json.loads(event) for event in parse_announcement(said).events),  # noqa: B023
            )


def _encoded(told: dict[str, str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in told.items()}


# ---------------------------------------------------------------------------------- proofs, runs
def _exports(folder: Path, found: Findings) -> None:
    """Receipts: whoever has exported a run can have it verified for ever."""
    keys = [PublicKey.of_jwk(one) for one in json.loads((folder / "keys.json").read_text())["keys"]]
    for file in sorted((folder / "exports").iterdir()):
        found.judge("exported runs", file.name, lambda: _holds(file, keys))  # noqa: B023


def _holds(file: Path, keys: list[PublicKey]) -> bool:
    verdict = judge(lines_of([file.read_bytes()]), keys)
    return verdict.problem is None and verdict.trusted


def _runs(folder: Path, found: Findings) -> None:
    """Runs that were under way when the release was left."""
    for one in rehearsal_of((folder / "under-way.ndjson").read_bytes(), AGENTS, None):
        if one.ending is not Ending.REPLAYS or one.why:
            found.problems.append(f"runs under way, {one.run}: {one.why or one.ending}")
        found.tried["runs under way"] = found.tried.get("runs under way", 0) + 1


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text().splitlines():
        yield json.loads(line)
