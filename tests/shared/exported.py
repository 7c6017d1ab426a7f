"""A run as an export, made without a gateway: what tests of verifying begin with."""

import json
from collections.abc import Collection
from datetime import UTC, datetime

from shared.chain import extend, sealed
from shared.export import ExportedRow, header_line, receipt_line, row_line
from shared.receipts import RunFacts, signed_receipt
from shared.signing import SigningKey

KEY, OTHER = SigningKey("A" * 43), SigningKey("B" * 42 + "A")
NOW = datetime(2026, 11, 21, 12, 0, 0, 5, UTC)


def export(
    shape: list[list[int]],
    *,
    fence: int = 3,
    erased: Collection[int] = (),
    key: SigningKey = KEY,
) -> list[bytes]:
    """The lines of a run, without their ends."""
    stored = []
    for over, lengths in enumerate(shape):
        seq = 1
        for length in lengths:
            kind = "TEXT_MESSAGE_CHUNK" if length > 1 else "CUSTOM"
            data = json.dumps({"type": kind, "delta": f'"ü\u2028{seq}'}, ensure_ascii=False)
            stored.append(sealed(fence + over, seq, seq + length - 1, kind, data))
            seq += length
    before = b"\7" * 32
    chained = extend(before, stored)
    last = chained[-1].row
    facts = RunFacts(
        run="run_1",
        root="run_1",
        thread="thr_1",
        agent="Assistant",
        agent_digest=None,
        status="finished",
        started_at=NOW,
        ended_at=NOW,
        first=f"{fence}-1",
        last=f"{last.fence}-{last.seq_to}",
        rows=len(chained),
        before=before,
        chain=chained[-1].hash,
    )
    receipt = signed_receipt(facts, key)
    written = [header_line(receipt, key.public)]
    for number, (row, hash_) in enumerate(chained):
        whole = ExportedRow(*row, hash_)
        gone = number in erased
        written.append(row_line(whole._replace(data=None, salt=None) if gone else whole))
    return [line.removesuffix(b"\n") for line in (*written, receipt_line(receipt))]
