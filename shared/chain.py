"""The chain: every stored row of a thread's events carries a hash over all before it.

h = SHA-256(h before, id, seq_to, type, SHA-256(salt, data)). Erasing data and salt keeps the
digest, so that the chain still verifies.
"""

import os
from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

SALT_BYTES = 16

#: The hash before a thread's first row.
BEGINNING = bytes(32)


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
    return StoredRow(fence, seq, seq_to, type_, data, salt, digest_of(salt, data))


def extend(chain: bytes | None, rows: Iterable[StoredRow]) -> list[ChainedRow]:
    """Continue the chain over rows in id order; `None` begins it."""
    found, last = [], chain or BEGINNING
    for row in rows:
        last = linked(last, f"{row.fence}-{row.seq}", row.seq_to, row.type, row.digest)
        found.append(ChainedRow(row, last))
    return found


def digest_of(salt: bytes, data: str) -> bytes:
    """What the chain covers of a row's content."""
    return sha256(salt + data.encode()).digest()


def linked(before: bytes, id_: str, seq_to: int, type_: str, digest: bytes) -> bytes:
    """The hash after a row, from the hash before it."""
    return sha256(before + f"{id_} {seq_to} {type_} ".encode() + digest).digest()
