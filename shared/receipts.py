"""Receipts: what a run was and where the chain stood before and after it, signed at its end.

A receipt is signed over its canonical form (RFC 8785) without `signature`. It holds integers below
2^53 and text only, and its keys are ASCII, for which `canonical` is that form.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from shared.signing import SIGNATURE_BYTES, PublicKey, SigningKey, from_base64url, to_base64url

VERSION: Final = 1
#: Says what was signed, so that no other use of the key can be taken for a receipt.
KIND: Final = "baton.receipt"
HEAD_KIND: Final = "baton.head"
#: Where an installation publishes the keys that it signs and has signed with.
KEYS_PATH: Final = "/.well-known/baton-keys.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What a receipt says of a run. Ids are the public ones."""

    run: str
    #: The run whose journal and trace this one continues.
    root: str
    thread: str
    agent: str
    #: Digest of the agent's code at its first claim, where its runner announced one.
    agent_digest: str | None
    status: str
    started_at: datetime
    ended_at: datetime
    #: Ids of its first and its last event, as `<fence>-<seq>`.
    first: str
    last: str
    #: Stored rows; adjacent deltas of a message are one.
    rows: int
    #: The chain before its first row and after its last one.
    before: bytes
    chain: bytes


def signed_receipt(facts: RunFacts, key: SigningKey) -> dict[str, Any]:
    """The receipt of a run."""
    said = {
        "kind": KIND,
        "version": VERSION,
        "run": facts.run,
        "root": facts.root,
        "thread": facts.thread,
        "agent": facts.agent,
        "agentDigest": facts.agent_digest,
        "status": facts.status,
        "startedAt": _moment(facts.started_at),
        "endedAt": _moment(facts.ended_at),
        "first": facts.first,
        "last": facts.last,
        "rows": facts.rows,
        "before": facts.before.hex(),
        "chain": facts.chain.hex(),
        "kid": key.public.id,
    }
    return _signed(said, key)


def signed_head(
    *, thread: str, last: str, rows: int, chain: bytes, at: datetime, key: SigningKey
) -> dict[str, Any]:
    """What retention leaves of a thread's oldest rows: how many, and where the chain stood then.

    `last` is the id of the newest event that was deleted.
    """
    said = {
        "kind": HEAD_KIND,
        "version": VERSION,
        "thread": thread,
        "last": last,
        "rows": rows,
        "chain": chain.hex(),
        "deletedAt": _moment(at),
        "kid": key.public.id,
    }
    return _signed(said, key)


def _signed(said: dict[str, Any], key: SigningKey) -> dict[str, Any]:
    return said | {"signature": to_base64url(key.sign(canonical(said)))}


def holds(receipt: Mapping[str, Any], key: PublicKey) -> bool:
    """Whether the owner of `key` has signed exactly this receipt or head."""
    said = dict(receipt)
    try:
        signature = from_base64url(str(said.pop("signature", "")), SIGNATURE_BYTES)
    except ValueError:
        return False
    return key.signed(signature, canonical(said))


def canonical(value: Any) -> bytes:
    """JSON in its one form: keys sorted, no white space, UTF-8, only what must be is escaped.

    Raises:
        UnicodeEncodeError: it holds a lone surrogate, which no text of ours does.
    """
    told = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return told.encode()


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
