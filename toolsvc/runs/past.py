"""What earlier carriers of a run have left in SQL, for the one that goes on."""

from typing import Any, NamedTuple
from uuid import UUID

from shared.db.direct import Transaction
from shared.db.line import Command, Statement
from shared.protocol.brackets import BRACKETS
from shared.protocol.record import Decision, ForeignRow, SpanRecord, StepRecord

_STARTS = Statement(
    """
    SELECT fence, seq, type, data FROM events
    WHERE run_id = :run AND seq = 1 AND type IN ('RUN_STARTED', 'CUSTOM') ORDER BY fence
    """,
    ForeignRow._make,
)
_SPAN = ("id", "parent", "started", "ended", "data", "error")
_STEP = ("scope", "kind", "place", "digest", "record")
_DECISION = ("scope", "call_id", "digest", "approved", "message")
JOURNAL = Statement(
    f"SELECT {', '.join(_STEP)} FROM steps WHERE root_id = :root ORDER BY ordinal",  # noqa: S608
    lambda columns: StepRecord.model_construct(**dict(zip(_STEP, columns, strict=True))),
)
_SNAPSHOT = Statement(
    "SELECT state FROM snapshots WHERE root_id = :root", lambda columns: str(columns[0])
)
# A call that was asked about twice counts as it was decided last.
DECISIONS = Statement(
    """
    SELECT scope, call_id, digest, status = 'approved', message FROM interrupts
    WHERE root_id = :root AND status IN ('approved', 'rejected') ORDER BY decided_at
    """,
    lambda columns: Decision.model_construct(**dict(zip(_DECISION, columns, strict=True))),
)
# What was under way when the predecessor died will not end any more.
_CLOSE_SPANS = Statement(
    """
    UPDATE spans SET ended_at = now(), error = '{"message": "taken_over"}'
    WHERE root_id = :root AND ended_at IS NULL
    RETURNING id, parent_id, started_at, ended_at, data, error
    """,
    lambda columns: SpanRecord.model_construct(**_iso(dict(zip(_SPAN, columns, strict=True)))),
)
_BRACKETS = Statement(
    """
    SELECT data FROM events WHERE run_id = :run AND type = ANY(:types) AND hash IS NOT NULL
    ORDER BY fence, seq
    """,
    lambda columns: str(columns[0]),
)


class Past(NamedTuple):
    """Answers to come: they are read when the claim's transaction has ended."""

    cut_off: Command[SpanRecord]
    starts: Command[ForeignRow]
    journal: Command[StepRecord]
    brackets: Command[str]
    snapshot: Command[str]
    decisions: Command[Decision]


def look_at_past(db: Transaction, *, run: UUID, root: UUID) -> Past:
    """Ask, and end what is open; the claim's own start row is among the starts."""
    return Past(
        db.add(_CLOSE_SPANS(root=root)),
        db.add(_STARTS(run=run)),
        db.add(JOURNAL(root=root)),
        db.add(_BRACKETS(run=run, types=sorted(BRACKETS))),
        db.add(_SNAPSHOT(root=root)),
        db.add(DECISIONS(root=root)),
    )


def _iso(columns: dict[str, Any]) -> dict[str, Any]:
    return columns | {name: columns[name].isoformat() for name in ("started", "ended")}
