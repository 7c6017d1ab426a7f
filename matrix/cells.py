"""What came of the conversations: a cell for each client, upstream and conversation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

#: The columns; `matrix/probe.py` holds them.
CONVERSATIONS = (
    *("plain", "stream", "tools", "hand-off", "guardrail", "approval", "structured"),
    *("leave", "reconnect"),
)
UPSTREAMS = {
    "responses": "a model server that speaks Responses",
    "chat": "a model server that speaks Chat Completions alone",
}
#: Clients that have no probe here, and how they are tried else.
NO_PROBE = {
    "openai-node": "no probe",
    "Vercel AI SDK": "no probe",
    "llm": "no probe",
    "@ag-ui/client": "no probe; tests/scenarios/test_official_client.py drives it",
    "Open WebUI": "no probe",
}


@dataclass(slots=True)
class Row:
    """One client at one upstream."""

    client: str
    upstream: str
    version: str | None = None
    #: Why it could not be tried at all.
    missing: str | None = None
    #: Conversation → why it failed; `None` where it went well.
    found: dict[str, str | None] = field(default_factory=dict)

    @property
    def failures(self) -> dict[str, str]:
        """What went wrong, or did not come."""
        if self.missing:
            return {}
        reasons = {name: self.found.get(name, "no answer came") for name in CONVERSATIONS}
        return {name: why for name, why in reasons.items() if why is not None}


def page(rows: Sequence[Row], *, release: str, on: date) -> str:
    """The report, in Markdown."""
    head = f"""# Compatibility matrix

Made by `baton matrix` on {on.isoformat()}, release {release}. Each cell is a real conversation
of an unmodified client with a stack of its own, before a demo model that speaks one API. `leave`:
the client goes in mid-stream, and the next request is answered. `reconnect`: it comes back with the
same `Idempotency-Key` and gets the whole answer.

| client | version | upstream | {" | ".join(CONVERSATIONS)} |
|---|---|---|{"---|" * len(CONVERSATIONS)}
"""
    lines = [_line(row) for row in rows]
    rest = " |" * (len(CONVERSATIONS) - 1)
    lines += [f"| {name} | - | - | {why} |{rest}" for name, why in NO_PROBE.items()]
    reasons = [
        f"- {row.client}, {row.upstream}, {name}: {_plain(why)}"
        for row in rows
        for name, why in row.failures.items()
    ]
    told = "\n".join(reasons) or "Nothing failed."
    return head + "\n".join(lines) + f"\n\n## What failed, and why\n\n{told}\n"


def _line(row: Row) -> str:
    if row.missing:
        cells = [f"not tried: {_plain(row.missing)}", *[""] * (len(CONVERSATIONS) - 1)]
    else:
        cells = ["**fails**" if name in row.failures else "ok" for name in CONVERSATIONS]
    return f"| {row.client} | {row.version or '-'} | {row.upstream} | {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Others' words on one line of a table."""
    return " ".join(text.split()).replace("|", "\\|")[:300]
