"""What SQL and toolsvc do: claims, leases, commits. Each transaction is one action."""

from collections.abc import Iterator

from shared.protocol.position import Position
from tests.model.search import Violation
from tests.model.state import (
    RESUMED,
    RUN_STARTED,
    Carrier,
    Commit,
    Row,
    Run,
    Scene,
    State,
    Status,
    Step,
    entry,
    row_of,
)


class RefusedError(Exception):
    """A commit that toolsvc does not take; `fenced` means that another claim has the thread."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Record:
    """The record of runs, as toolsvc keeps it."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    # ------------------------------------------------------------------ claims
    def claims(self, s: State) -> Iterator[Step]:
        """Whoever may claim does so: a runner in its turn or after a death, toolsvc to close."""
        for number, run in enumerate(s.runs):
            if run.status is Status.QUEUED:
                yield from self.claim(s, number, closer=False)
                break  # one run at a time; the next one's turn comes when this one has ended
            if run.status is Status.RUNNING:
                if self.stranded(run):
                    yield from self.claim(s, number, closer=False)
                if run.closing:
                    yield from self.claim(put_run(s, number, closing=False), number, closer=True)
                if self.unnamed(s, run):
                    # The answer to its claim was lost: the heartbeat does not name it.
                    freed = put_run(s, number, leased=False)
                    yield Step("strand", "toolsvc", f"run {number + 1}", freed)
                break

    def stranded(self, run: Run) -> bool:
        """Whether a running run may be taken over."""
        return not run.leased

    def unnamed(self, s: State, run: Run) -> bool:
        """Whether whoever owns the run lives, and does not name it in its heartbeat."""
        return run.leased and not any(c.fence == run.fence for c in s.carriers)

    def claim(self, s: State, number: int, *, closer: bool) -> Iterator[Step]:
        fence, first = s.fence + 1, s.runs[number].fence == 0
        start = row_of(entry(fence, 1, self.start_type(first=first), number + 1))
        claimed = put_run(
            s._replace(fence=fence, rows=insert(s.rows, (start,))),
            number,
            status=Status.RUNNING,
            fence=fence,
            commits=0,
            digest=None,
            leased=True,
        )
        if self.settles_at_once(first=first):
            # The finish before it has committed everything.
            claimed = claimed._replace(settled=fence, last=Position(fence, 1))
        carrier = Carrier(fence, number, s.last, self.journal_of(s, number), closer)
        action = "close" if closer else "claim"
        who = f"{'toolsvc' if closer else 'a runner'} as {fence}"
        carried = claimed._replace(carriers=(*claimed.carriers, carrier))
        yield Step(action, who, f"run {number + 1}", carried)
        if lost := spend(claimed, "unanswered"):
            yield Step(action, who, f"run {number + 1}, but the answer is lost", lost, fault=True)

    def start_type(self, *, first: bool) -> str:
        """RUN_STARTED once, and never again."""
        return RUN_STARTED if first else RESUMED

    def settles_at_once(self, *, first: bool) -> bool:
        """Whether the claim settles its fence; else its first commit does."""
        return first

    def journal_of(self, s: State, number: int) -> int:
        """The steps that a claim's answer brings: those of the root run, whose journal goes on."""
        return s.journal

    # ------------------------------------------------------------------ commits
    def commit(self, s: State, c: Carrier, commit: Commit) -> State:
        """A commit that is stored, or known already.

        Raises:
            RefusedError: toolsvc does not take it.
        """
        run = s.runs[c.run]
        if not self.carries(run, c):
            raise RefusedError("fenced")
        if commit.n == run.commits:
            if run.digest != commit:
                raise RefusedError("conflict")
            return s
        if not self.newest(s, c) or run.status is not Status.RUNNING:
            raise RefusedError("fenced")
        if commit.n != run.commits + 1:
            raise RefusedError("gap")
        return self._store(s, c, commit)

    def carries(self, run: Run, c: Carrier) -> bool:
        """Whether the run was claimed by this carrier, and by nobody since."""
        return run.fence == c.fence

    def newest(self, s: State, c: Carrier) -> bool:
        """Whether the carrier's fence is the thread's."""
        return s.fence == c.fence

    def _store(self, s: State, c: Carrier, commit: Commit) -> State:
        settling = s.settled < c.fence
        self.check_order(s, c, commit, settling=settling)
        tail = commit.tail or ()
        starts = [row for row in s.rows if row.fence > s.settled] if settling else []
        chained = [*sorted([*tail, *starts]), *commit.rows]
        for before, row in zip([None, *chained], chained, strict=False):
            if row.at <= (before.end if before else s.last):
                raise Violation(f"the chain is not in id order: {row.data} after {before}")
        s = s._replace(
            settled=c.fence,
            last=chained[-1].end if chained else s.last,
            rows=insert(s.rows, (*tail, *commit.rows)),
            journal=s.journal + commit.steps,
        )
        ended = {"status": Status.ENDED, "leased": False} if commit.ends else {}
        return put_run(s, c.run, commits=commit.n, digest=commit, **ended)

    def check_order(self, s: State, c: Carrier, commit: Commit, *, settling: bool) -> None:
        """Seqs without gaps; a tail exactly with the commit that settles the fence."""
        if settling != (commit.tail is not None):
            raise RefusedError("gap")
        after = s.last
        for row in commit.tail or ():
            if not after < row.at < Position(c.fence, 1):
                raise RefusedError("conflict")
            after = row.at
        expected = 2 if settling else s.last.seq + 1
        for row in commit.rows:
            if row.seq != expected:
                raise RefusedError("gap")
            expected = row.seq_to + 1


# ---------------------------------------------------------------------- states from states
def put_run(s: State, number: int, **changed: object) -> State:
    """The state with another row of a run."""
    run = s.runs[number]._replace(**changed)  # type: ignore[arg-type]
    return s._replace(runs=(*s.runs[:number], run, *s.runs[number + 1 :]))


def insert(rows: tuple[Row, ...], new: tuple[Row, ...]) -> tuple[Row, ...]:
    """More rows, in id order; no two under one id."""
    ids = {row.at for row in rows}
    for row in new:
        if row.at in ids:
            raise Violation(f"two rows under one id: {row.data}")
    return tuple(sorted((*rows, *new)))


def spend(s: State, fault: str) -> State | None:
    """The state with one less of a fault, if one is left."""
    left: int = getattr(s.faults, fault)
    return s._replace(faults=s.faults._replace(**{fault: left - 1})) if left else None
