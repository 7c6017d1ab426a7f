"""What a commit brings, as SQL takes it: one statement for all of it, and another for the last one.

A column is a list, and a row of each table what stands at one place in its lists.
"""

from typing import Any

import orjson

from shared.bus.doorbell import Ring
from shared.chain import ChainedRow
from shared.db.line import Statement
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.record import Commit, End

# Everything that a commit brings. Rows already there with other content would break the primary
# key: that is a bug of the writer and ends its commit.
_BROUGHT = """
    WITH stored AS (
        INSERT INTO events (thread_id, fence, seq, seq_to, run_id, type, data, salt, digest, hash)
        SELECT :thread, fence, seq, seq_to, :run, type, data, salt, digest, hash
        FROM unnest(CAST(:fences AS bigint[]), CAST(:seqs AS bigint[]), CAST(:seqs_to AS bigint[]),
            CAST(:types AS text[]), CAST(:datas AS text[]), CAST(:salts AS bytea[]),
            CAST(:digests AS bytea[]), CAST(:hashes AS bytea[]))
            AS rows (fence, seq, seq_to, type, data, salt, digest, hash)
    ), journal AS (
        INSERT INTO steps (root_id, scope, kind, place, ordinal, run_id, fence, digest, record)
        SELECT :root, scope, kind, place, number + COALESCE(
            (SELECT max(ordinal) FROM steps WHERE root_id = :root), 0), :run, :fence, digest, record
        FROM unnest(CAST(:scopes AS text[]), CAST(:kinds AS text[]), CAST(:places AS text[]),
            CAST(:step_digests AS text[]), CAST(:records AS text[]))
            WITH ORDINALITY AS steps (scope, kind, place, digest, record, number)
    ), trace AS (
        INSERT INTO spans (id, root_id, parent_id, fence, started_at, ended_at, data, error)
        SELECT id, :root, parent, :fence, started, ended, CAST(data AS json), CAST(error AS json)
        FROM unnest(CAST(:span_ids AS text[]), CAST(:parents AS text[]),
            CAST(:started AS timestamptz[]), CAST(:ended AS timestamptz[]),
            CAST(:span_datas AS text[]), CAST(:span_errors AS text[]))
            AS spans (id, parent, started, ended, data, error)
        ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, data = excluded.data,
            error = excluded.error
            WHERE spans.root_id = excluded.root_id
    )"""

STORE = Statement(f"""{_BROUGHT}, thread AS (
        UPDATE threads SET settled = :fence, last_fence = :fence, last_seq = :last_seq,
            chain = :chain, committed_at = now()
        WHERE id = :thread
    )
    UPDATE runs SET commits = :n, commit_digest = :commit_digest,
        deaths = CASE WHEN CAST(:progress AS boolean) THEN 0 ELSE deaths END,
        runner_id = CASE WHEN CAST(:leaves AS boolean) THEN NULL ELSE runner_id END
    WHERE id = :run
""")  # noqa: S608

# The same for a run's last commit, and the end of the run. It begins under the thread's lock, so
# that no run is queued between the look for the next one and the end of this one. A thread that
# waits for a person goes on with nothing else.
FINISH = Statement(
    f"""{_BROUGHT}, kept AS (
        INSERT INTO messages (thread_id, id, parent, run_id, role, content)
        SELECT :thread, id, parent, :run, role, CAST(content AS json)
        FROM unnest(CAST(:message_ids AS text[]), CAST(:message_parents AS text[]),
            CAST(:roles AS text[]), CAST(:contents AS text[]))
            WITH ORDINALITY AS rows (id, parent, role, content, number)
        ORDER BY number
        ON CONFLICT (thread_id, id) DO NOTHING
    ), thread AS (
        UPDATE threads SET settled = :fence, last_fence = :fence, last_seq = :last_seq,
            chain = :chain, committed_at = now(), head = :head, updated_at = now()
        WHERE id = :thread
    ), forgotten AS (
        DELETE FROM snapshots WHERE root_id = :root AND :status <> 'interrupted'
    ), asked AS (
        INSERT INTO interrupts (id, thread_id, root_id, run_id, ordinal, reason, scope, call_id,
            agent, tool, arguments, digest, status)
        SELECT id, :thread, :root, :run, number, reason, scope, call_id, agent, tool, arguments,
            digest, 'open'
        FROM unnest(CAST(:asked_ids AS text[]), CAST(:reasons AS text[]),
            CAST(:asked_scopes AS text[]), CAST(:call_ids AS text[]), CAST(:agents AS text[]),
            CAST(:tools AS text[]), CAST(:arguments AS text[]), CAST(:asked_digests AS text[]))
            WITH ORDINALITY
            AS rows (id, reason, scope, call_id, agent, tool, arguments, digest, number)
    ), next AS (
        UPDATE runs SET ready = true WHERE id = (
            SELECT id FROM runs
            WHERE thread_id = :thread AND status = 'queued' AND :status <> 'interrupted'
            ORDER BY resumes IS NULL, turn, id LIMIT 1
        ) RETURNING id, thread_id
    ), run AS (
        UPDATE runs SET commits = :n, commit_digest = :commit_digest, status = :status,
            error_code = :error_code, error_message = :error_message,
            usage = CAST(:usage AS json), ended_at = now(), runner_id = NULL, receipt = :receipt
        WHERE id = :run
    )
    SELECT id, thread_id FROM next
    """,  # noqa: S608
    Ring._make,
)

# One of each root run, the newest.
SNAPSHOT = Statement("""
    INSERT INTO snapshots (root_id, fence, state) VALUES (:root, :fence, :state)
    ON CONFLICT (root_id) DO UPDATE SET fence = excluded.fence, state = excluded.state,
        created_at = now()
""")


def event_columns(rows: list[ChainedRow]) -> dict[str, list[Any]]:
    """Events with their places in the chain."""
    return {
        "fences": [one.row.fence for one in rows],
        "seqs": [one.row.seq for one in rows],
        "seqs_to": [one.row.seq_to for one in rows],
        "types": [one.row.type for one in rows],
        "datas": [one.row.data for one in rows],
        "salts": [one.row.salt for one in rows],
        "digests": [one.row.digest for one in rows],
        "hashes": [one.hash for one in rows],
    }


def step_columns(commit: Commit) -> dict[str, list[Any]]:
    """The journal's new steps."""
    return {
        "scopes": [step.scope for step in commit.steps],
        "kinds": [step.kind for step in commit.steps],
        "places": [step.place for step in commit.steps],
        "step_digests": [step.digest for step in commit.steps],
        "records": [step.record for step in commit.steps],
    }


def span_columns(commit: Commit) -> dict[str, list[Any]]:
    """A span that came twice in one commit counts as it came last."""
    spans = {span.id: span for span in commit.spans}.values()
    return {
        "span_ids": [span.id for span in spans],
        "parents": [span.parent for span in spans],
        "started": [span.started for span in spans],
        "ended": [span.ended for span in spans],
        "span_datas": [_storable(span.data) for span in spans],
        "span_errors": [_storable(span.error) if span.error else None for span in spans],
    }


def end_columns(head: str | None, end: End) -> dict[str, Any]:
    """What closes the run's books."""
    messages = end.messages
    ids = [message["id"] for message in messages]
    return {
        "message_ids": ids,
        "message_parents": [head, *ids][: len(ids)],
        "roles": [message["role"] for message in messages],
        "contents": [_storable(message) for message in messages],
        "head": ids[-1] if ids else head,
        "status": end.outcome,
        "error_code": end.error_code,
        "error_message": end.error_message,
        "usage": _storable(end.usage),
        "asked_ids": [one.id for one in end.asked],
        "reasons": [one.reason for one in end.asked],
        "asked_scopes": [one.scope for one in end.asked],
        "call_ids": [one.call_id for one in end.asked],
        "agents": [one.agent for one in end.asked],
        "tools": [one.tool for one in end.asked],
        "arguments": [one.arguments for one in end.asked],
        "asked_digests": [one.digest for one in end.asked],
    }


def _storable(value: Any) -> str:
    try:
        text_: str = orjson.dumps(value).decode()
    except TypeError as error:  # an integer beyond 64 bits, for one
        raise BatonError(Code.BAD_INPUT, f"A value cannot be stored: {error}.") from None
    return text_
