"""A run as a file that proves itself: a header, one line for each stored row, the receipt.

Each line is canonical JSON, so there is one way to write it. `shared.judge` says what a file is
worth.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from shared import receipts
from shared.chain import digest_of, linked
from shared.protocol import strict_json
from shared.protocol.position import Position, parse_position
from shared.receipts import canonical
from shared.signing import PublicKey

VERSION: Final = 1
KIND: Final = "baton.export"
MEDIA_TYPE: Final = "application/x-ndjson"
#: A commit has at most 64 MiB, and JSON inside of JSON escapes each of its quotes.
MAX_LINE_BYTES: Final = 128 * 1_048_576

_HEADER_KEYS = frozenset({"kind", "version", "run", "thread", "before", "key"})
_ROW_KEYS = frozenset({"id", "seqTo", "type", "data", "salt", "digest", "hash"})
_RECEIPT_KEYS = frozenset(
    {
        *("kind", "version", "run", "root", "thread", "agent", "agentDigest", "status"),
        *("startedAt", "endedAt", "first", "last", "rows", "before", "chain", "kid", "signature"),
    }
)
_HASH_BYTES = 32


# ---------------------------------------------------------------------------------- writing
class ExportedRow(NamedTuple):
    """A row of events as SQL has it; data and salt of an erased one are gone."""

    fence: int
    seq: int
    seq_to: int
    type: str
    data: str | None
    salt: bytes | None
    digest: bytes
    hash: bytes


def header_line(receipt: Mapping[str, Any], key: PublicKey | None) -> bytes:
    """The first line: which run this is, and where its part of the chain begins.

    `key` is the one that signed the receipt, for readers who have no other; by itself it proves
    nothing.
    """
    said = {"kind": KIND, "version": VERSION, "key": key.jwk if key else None}
    return _line(said | {name: receipt[name] for name in ("run", "thread", "before")})


def row_line(row: ExportedRow) -> bytes:
    """A stored row; `data` is the event's JSON as it was sent, in a text."""
    erased = not row.data or not row.salt
    return _line(
        {
            "id": f"{row.fence}-{row.seq}",
            "seqTo": row.seq_to,
            "type": row.type,
            "data": None if erased else row.data,
            "salt": row.salt.hex() if row.salt and not erased else None,
            "digest": row.digest.hex(),
            "hash": row.hash.hex(),
        }
    )


def receipt_line(receipt: Mapping[str, Any]) -> bytes:
    """The last line."""
    return _line(receipt)


def _line(value: Mapping[str, Any]) -> bytes:
    return canonical(value) + b"\n"


# ---------------------------------------------------------------------------------- reading
class Header(NamedTuple):
    """Where the run's part of the chain begins."""

    said: dict[str, Any]
    before: bytes


class Row(NamedTuple):
    """A row, without its data."""

    id: str
    at: Position
    seq_to: int
    type: str
    digest: bytes
    hash: bytes
    intact: bool  #: the digest is that of salt and data, or both are erased
    erased: bool

    def after(self, before: bytes) -> bytes:
        """The chain's hash after this row, if it stood at `before`."""
        return linked(before, self.id, self.seq_to, self.type, self.digest)

    def follows(self, before: bytes) -> bool:
        """Whether this row is what came next when the chain stood at `before`."""
        return self.intact and self.hash == self.after(before)


class Receipt(NamedTuple):
    """What was signed, and where the chain stood then."""

    said: dict[str, Any]
    chain: bytes


class Unreadable(NamedTuple):
    """Something else, and why it is none of them."""

    why: str


Line = Header | Row | Receipt | Unreadable


def lines_of(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a file that comes in pieces, without their ends; of one too long its beginning."""
    begun = bytearray()
    for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            yield bytes(begun) + end
            begun.clear()
        if len(begun) <= MAX_LINE_BYTES:
            begun += rest
    if begun:
        yield bytes(begun)


def read_line(raw: bytes) -> Line:
    """Read a line without its end; whatever it holds, nothing is raised."""
    if len(raw) > MAX_LINE_BYTES:
        return Unreadable(f"it is longer than {MAX_LINE_BYTES:,} bytes")
    try:
        said = strict_json.loads(raw)
    except strict_json.NotJsonError as error:
        return Unreadable(str(error)[:200])
    found = _parsed(said) if isinstance(said, dict) else None
    if found is None:
        return Unreadable("it is no line of an export")
    if canonical(said) != raw:
        return Unreadable("it is not written in canonical form")
    return found


def _parsed(said: dict[str, Any]) -> Line | None:
    if said.keys() == _ROW_KEYS:
        return _row(said)
    if type(said.get("version")) is not int or said["version"] != VERSION:
        return None
    if said.keys() == _HEADER_KEYS and said["kind"] == KIND:
        before = _hash(said["before"])
        return Header(said, before) if before else None
    if said.keys() == _RECEIPT_KEYS and said["kind"] == receipts.KIND:
        chain = _hash(said["chain"])
        fine = type(said["rows"]) is int and isinstance(said["kid"], str)
        return Receipt(said, chain) if chain and fine else None
    return None


def _row(said: dict[str, Any]) -> Row | None:
    at = parse_position(said["id"]) if isinstance(said["id"], str) else None
    digest, after = _hash(said["digest"]), _hash(said["hash"])
    if at is None or digest is None or after is None or not isinstance(said["type"], str):
        return None
    if type(said["seqTo"]) is not int or said["seqTo"] < at.seq:
        return None
    data, salt = said["data"], _bytes(said["salt"])
    erased = data is None and said["salt"] is None
    intact = isinstance(data, str) and salt is not None and digest_of(salt, data) == digest
    return Row(
        id=said["id"],
        at=at,
        seq_to=said["seqTo"],
        type=said["type"],
        digest=digest,
        hash=after,
        intact=intact or erased,
        erased=erased,
    )


def _hash(value: object) -> bytes | None:
    """32 bytes in hexadecimal digits; `None` for anything else."""
    raw = _bytes(value)
    return raw if raw is not None and len(raw) == _HASH_BYTES else None


def _bytes(value: object) -> bytes | None:
    try:
        raw = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        return None
    return raw if raw.hex() == value else None  # `fromhex` takes capitals and white space, too
