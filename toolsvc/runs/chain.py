"""The chain: every stored row of a thread's events carries a hash over all before it.

h = SHA-256(h before, id, seq_to, type, SHA-256(salt, data)). Erasing data and salt keeps the
digest, so that the chain still verifies.
"""

import os
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

SALT_BYTES = 16


class StoredRow(NamedTuple):
    """An event row as SQL keeps it, but for its thread and run."""

    fence: int
    seq: int
    seq_to: int
    type: str
    data: str
    salt: bytes
    digest: bytes


class ChainedRow(NamedTuple):
    """A row and the chain's hash after it."""

    row: StoredRow
    hash: bytes


def sealed(fence: int, seq: int, seq_to: int, type_: str, data: str) -> StoredRow:
    """A new row with fresh salt."""
    salt = os.urandom(SALT_BYTES)
    return StoredRow(fence, seq, seq_to, type_, data, salt, sha256(salt + data.encode()).digest())


def extend(chain: bytes | None, rows: Iterable[StoredRow]) -> list[ChainedRow]:
    """Continue the chain over rows in id order; `None` begins it."""
    found, last = [], chain or bytes(32)
    for row in rows:
        said = f"{row.fence}-{row.seq} {row.seq_to} {row.type} ".encode()
        last = sha256(last + said + row.digest).digest()
        found.append(ChainedRow(row, last))
    return found
