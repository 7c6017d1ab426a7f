"""What an export is worth: whether each line is what it was, and else what happened to the first.

Each line has to fit what came before it: the header the beginning, a row the hash before it, the
receipt the last hash. Where one does not fit, the rest of the file tells what happened:

- a line continues from further back, or a later one from here: what stands between was *added*, or
  *reordered* if it fits another place of the file
- nothing continues from here, and by the ids or by the receipt's count rows are *missing*
- else the line was *altered*

A row that was altered together with its hash fits what is before it; then the line after it does
not. The file cannot tell which of the two it was, and the message says so.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, StrEnum, auto
from itertools import islice
from typing import Any, NamedTuple, assert_never

from shared import receipts
from shared.export import Header, Line, Receipt, Row, Unreadable, read_line
from shared.protocol.position import Position
from shared.signing import PublicKey

#: Far more than a run has; a file of more is not worth the memory.
MAX_LINES = 1_000_000


class Trouble(StrEnum):
    """What happened to a line."""

    ALTERED = "altered"
    MISSING = "missing"
    ADDED = "added"
    REORDERED = "reordered"
    UNSIGNED = "unsigned"  #: all lines fit, but none of the keys has signed that


class Problem(NamedTuple):
    """The first line that is not what it was; where some are missing, the one after them."""

    trouble: Trouble
    line: int
    id: str | None
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a file is worth."""

    problem: Problem | None
    #: Whether a key that was given has signed it, and not just the one that the file brings.
    trusted: bool
    receipt: dict[str, Any] | None
    rows: int
    erased: int


def judge(lines: Iterable[bytes], keys: Iterable[PublicKey] | None) -> Verdict:
    """Judge an export by the keys of its installation; without any, by the one it brings."""
    read = [read_line(line) for line in islice(lines, MAX_LINES + 1)]
    if len(read) > MAX_LINES:
        why = f"no export has more than {MAX_LINES:,} lines"
        problem = Problem(Trouble.ADDED, MAX_LINES + 1, None, why)
        return Verdict(problem=problem, trusted=False, receipt=None, rows=0, erased=0)
    return _Judge(read, keys).verdict()


class _Edge(Enum):
    """Where one stands before the header and after the receipt."""

    START = auto()
    END = auto()


#: Where one stands after some lines; inside, it is the chain's hash there.
_State = bytes | _Edge


def _step(state: _State, line: Line) -> _State | None:
    """Where one stands after a line; `None` where it does not fit."""
    match line:
        case Header():
            return line.before if state is _Edge.START else None
        case Row():
            return line.hash if isinstance(state, bytes) and line.follows(state) else None
        case Receipt():
            return _Edge.END if line.chain == state else None
        case Unreadable():
            return None
        case _:
            assert_never(line)


class _Judge:
    def __init__(self, lines: list[Line], keys: Iterable[PublicKey] | None) -> None:
        self.lines = lines
        self.rows = [one for one in lines if isinstance(one, Row)]
        self.headers = [one for one in lines if isinstance(one, Header)]
        self.receipts = [one for one in lines if isinstance(one, Receipt)]
        self.header = self.headers[0] if self.headers else None
        self.receipt = self.receipts[-1] if self.receipts else None
        self.given = keys is not None
        self.keys = {key.id: key for key in (_brought(self.header) if keys is None else keys)}
        self.key = self.keys.get(str(self.receipt.said["kid"])) if self.receipt else None
        #: Whether the receipt is what was signed.
        self.signed = bool(
            self.receipt and self.key and receipts.holds(self.receipt.said, self.key)
        )

    def verdict(self) -> Verdict:
        problem = self._misfit() or self._contradiction()
        return Verdict(
            problem=problem,
            trusted=problem is None and self.given,
            receipt=self.receipt.said if self.receipt else None,
            rows=len(self.rows),
            erased=sum(one.erased for one in self.rows),
        )

    def _misfit(self) -> Problem | None:
        """Walk on as long as each line fits what came before it."""
        states: list[_State] = [_Edge.START]
        for line in self.lines:
            following = _step(states[-1], line)
            if following is None:
                return self._explained(states)
            states.append(following)
            if len(states) == 2 and (problem := self._other_header()):
                return problem
        if states[-1] is _Edge.END:
            return None
        last = _named(self.lines[-1]) if self.lines else "nothing"
        return Problem(Trouble.MISSING, len(states), None, f"the file ends after {last}")

    # ------------------------------------------------------------------ what happened to a line
    def _explained(self, states: list[_State]) -> Problem:
        """Say what happened at the first line that does not fit; `states` lead up to it."""
        number = len(states) - 1
        line, state = self.lines[number], states[-1]
        if state is _Edge.END:
            return _problem(Trouble.ADDED, number, line, "it stands after the receipt")
        if not isinstance(line, Unreadable) and line in self.lines[:number]:
            return _problem(Trouble.ADDED, number, line, "it stands in the file already")
        for later in range(number + 1, len(self.lines)):
            if _step(state, self.lines[later]) is not None:
                return self._out_of_place(number, later)
        if isinstance(line, (Row, Receipt)):
            for past, earlier in enumerate(states[:-1]):
                if isinstance(earlier, bytes) and _step(earlier, line) is not None:
                    return self._added(past, number)
        if isinstance(state, bytes):
            return self._altered_or_missing(number, state)
        return self._no_header(line)

    def _out_of_place(self, number: int, following: int) -> Problem:
        """Lines from `number` to `following` do not belong here; perhaps they do elsewhere."""
        line = self.lines[number]
        match line:
            case Header():
                moved = len(self.headers) == 1
            case Receipt():
                moved = len(self.receipts) == 1 and any(one.hash == line.chain for one in self.rows)
            case Row():
                moved = self.rows.count(line) == 1 and self._has_a_place(line)
            case Unreadable():
                moved = False
            case _:
                assert_never(line)
        if moved:
            return _problem(Trouble.REORDERED, number, line, "it belongs elsewhere in the file")
        return self._added(number, following)

    def _has_a_place(self, row: Row) -> bool:
        """Whether there is a hash in the file that this row continues, and no other one."""
        places = {one.hash for one in self.rows} | {one.before for one in self.headers}
        others = [one for one in self.rows if one != row]
        return any(
            row.follows(place) and not any(other.follows(place) for other in others)
            for place in places - {row.hash}
        )

    def _added(self, number: int, following: int) -> Problem:
        why = f"line {following + 1} ({_named(self.lines[following])}) goes on without it"
        return _problem(Trouble.ADDED, number, self.lines[number], why)

    def _no_header(self, line: Line) -> Problem:
        first = self.receipt.said["first"] if self.receipt else None
        if isinstance(line, Receipt) or (isinstance(line, Row) and first in (None, line.id)):
            return _problem(Trouble.MISSING, 0, line, "there is no header")
        why = line.why if isinstance(line, Unreadable) else "it is not the header of an export"
        return _problem(Trouble.ALTERED, 0, line, why)

    def _altered_or_missing(self, number: int, state: bytes) -> Problem:
        """Nothing in the file continues from here."""
        line = self.lines[number]
        match line:
            case Unreadable():
                return _problem(Trouble.ALTERED, number, line, line.why)
            case Header():
                return _problem(Trouble.ADDED, number, line, "it is a second header")
            case Receipt():
                return self._other_end(number)
            case Row():
                return self._other_row(number, line, state)
            case _:
                assert_never(line)

    def _other_row(self, number: int, row: Row, state: bytes) -> Problem:
        if not row.intact:
            why = "its digest is not that of its salt and data"
            return _problem(Trouble.ALTERED, number, row, why)
        if number + 1 < len(self.lines) and _step(row.after(state), self.lines[number + 1]):
            why = "its hash is not that of its content and the hash before"
            return _problem(Trouble.ALTERED, number, row, why)
        before = self.lines[number - 1]
        if not self._adjoins(before, row) and (not self.signed or self._lacking() > 0):
            why = f"rows between {_named(before)} and {row.id} are missing"
            return _problem(Trouble.MISSING, number, row, why)
        why = "it does not continue the line before it"
        if isinstance(before, Row):
            why += f"; else {before.id} was altered, together with its hash"
        return _problem(Trouble.ALTERED, number, row, why)

    def _adjoins(self, before: Line, row: Row) -> bool:
        """Whether no row can have stood between: under one fence, seqs have no gaps."""
        if isinstance(before, Row):
            return row.at == Position(before.at.fence, before.seq_to + 1)
        return self.receipt is not None and row.id == self.receipt.said["first"]

    def _other_end(self, number: int) -> Problem:
        """The receipt does not continue the last row."""
        if not self.signed:
            return self._bad_receipt(number)
        last = self.lines[number - 1]
        if self._lacking() > 0 or not isinstance(last, Row):
            why = f"rows after {_named(last)} are missing"
            return _problem(Trouble.MISSING, number, self.lines[number], why)
        why = "the receipt does not continue it: it was altered, together with its hash"
        return _problem(Trouble.ALTERED, number - 1, last, why)

    def _lacking(self) -> int:
        return self.receipt.said["rows"] - len(self.rows) if self.receipt else 0

    # ------------------------------------------------------------------ what was signed
    def _other_header(self) -> Problem | None:
        """Whether the header says something else than the receipt that was signed."""
        if not (self.header and self.receipt and self.signed):
            return None
        for name in ("run", "thread", "before"):
            if self.header.said[name] != self.receipt.said[name]:
                why = f"its `{name}` is not that of the signed receipt"
                return _problem(Trouble.ALTERED, 0, self.header, why)
        return None

    def _contradiction(self) -> Problem | None:
        """All lines fit each other; is that what was signed?"""
        if self.receipt is None or self.header is None:
            return None  # not reached: a file without them has a misfit
        number = len(self.lines) - 1
        if not self.signed:
            return self._bad_receipt(number)
        if self.header.said["before"] != self.receipt.said["before"] or not self._counted():
            why = "it was signed, but for other rows"
            return _problem(Trouble.ALTERED, number, self.receipt, why)
        pinned = self.header.said["key"]
        if pinned is not None and self.key is not None and pinned != self.key.jwk:
            why = "its key is not the one that the receipt names"
            return _problem(Trouble.ALTERED, 0, self.header, why)
        return None

    def _counted(self) -> bool:
        said = self.receipt.said if self.receipt else {}
        if not self.rows:
            return False
        last = Position(self.rows[-1].at.fence, self.rows[-1].seq_to)
        found = (self.rows[0].id, str(last), len(self.rows))
        return found == (said["first"], said["last"], said["rows"])

    def _bad_receipt(self, number: int) -> Problem:
        """The receipt is not what one of our keys has signed: it, or what the header brings."""
        line = self.lines[number]
        said = self.receipt.said if self.receipt else {}
        if self.key is not None:
            return _problem(Trouble.ALTERED, number, line, "its signature does not hold")
        if any(receipts.holds(said | {"kid": key.id}, key) for key in self.keys.values()):
            return _problem(Trouble.ALTERED, number, line, "it names another key than signed it")
        if self.given:
            why = f"it was signed with the key {said['kid']}, which is none of those given"
            return _problem(Trouble.UNSIGNED, number, line, why)
        brought = self.header.said["key"] if self.header else None
        if brought is None:
            why = "the file brings no key, and none was given"
            return _problem(Trouble.UNSIGNED, number, line, why)
        why = "its key is not the one that the receipt names"
        return _problem(Trouble.ALTERED, 0, self.lines[0], why)


def _brought(header: Header | None) -> list[PublicKey]:
    """The key that a file brings for itself."""
    try:
        return [PublicKey.of_jwk(header.said["key"])] if header else []
    except ValueError:
        return []


def _problem(trouble: Trouble, number: int, line: Line, why: str) -> Problem:
    return Problem(trouble, number + 1, line.id if isinstance(line, Row) else None, why)


def _named(line: Line) -> str:
    match line:
        case Row():
            return line.id
        case Header():
            return "the header"
        case Receipt():
            return "the receipt"
        case Unreadable():
            return "a line that cannot be read"
        case _:
            assert_never(line)
