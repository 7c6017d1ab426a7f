"""The spine: everything that may happen next, and what must hold."""

from collections.abc import Iterator

from tests.model.carrier import gone, who
from tests.model.record import put_run, spend
from tests.model.relay import Relay
from tests.model.search import Violation
from tests.model.state import (
    END,
    RUN_STARTED,
    At,
    Carrier,
    Faults,
    Place,
    Run,
    Scene,
    State,
    Status,
    Step,
    parsed,
    words_of,
)


class Spine(Relay):
    """The whole of it; a planted bug is a subclass with one rule broken."""

    def __init__(self, scene: Scene, faults: Faults) -> None:
        super().__init__(scene)
        self.start = State(faults, tuple(Run() for _ in scene.steps))

    def steps(self, s: State) -> Iterator[Step]:
        """All that may happen next."""
        yield from self.claims(s)
        yield from self.carriers(s)
        if self.scene.client:
            yield from self.relays(s)
        yield from self.faults(s)

    # ------------------------------------------------------------------ what goes wrong
    def faults(self, s: State) -> Iterator[Step]:
        """What may go wrong next."""
        for c in s.carriers:
            if left := spend(s, "crash"):
                yield Step("crash", who(c), "", self.crashed(left, c), fault=True)
            carrying = s.runs[c.run].fence == c.fence and s.runs[c.run].leased
            if carrying and (left := spend(s, "freeze")):
                yield Step("freeze", who(c), "", put_run(left, c.run, leased=False), fault=True)
            if c.at is At.WORK and not c.closer and (left := spend(s, "hand_over")):
                yield Step("hand over", who(c), "", gone(left, c), fault=True)
        if s.stream and (left := spend(s, "flush")):
            yield Step("flush", "Redis", s.stream, left._replace(stream=()), fault=True)
        if s.stream and (left := spend(s, "lose")):
            for kept in range(len(s.stream)):
                lost = left._replace(stream=s.stream[:kept])
                yield Step("lose", "Redis", s.stream[kept:], lost, fault=True)
        number = len(s.runs) - 1
        if s.runs[number].status is not Status.ENDED and (left := spend(s, "cancel")):
            wished = put_run(left, number, cancelled=True, closing=True)
            yield Step("cancel", "client", f"run {number + 1}", wished)
        if s.listener.place is not Place.AWAY and (left := spend(s, "reconnect")):
            away = s.listener._replace(place=Place.AWAY, inbox=(), entries=(), restart=False)
            yield Step("disconnect", "client", "", left._replace(listener=away), fault=True)

    def crashed(self, s: State, c: Carrier) -> State:
        """A carrier is gone; its lease ends by itself."""
        return gone(s, c)

    # ------------------------------------------------------------------ what must hold
    def check(self, s: State) -> None:
        """Raises `Violation` where something is wrong that can never be made good."""
        for before, after in zip(s.stream, s.stream[1:], strict=False):
            if before.at >= after.at:
                raise Violation(f"the stream is out of order: {after.data} after {before.data}")
        one = s.listener
        if one.base is None:
            return
        for row in s.rows:
            if row.fence <= s.settled and one.base < row.end <= one.cursor:
                for word in words_of(row.data):
                    if parsed(word).at > one.base and word not in one.record:
                        raise Violation(f"the client has come past {word}, and never got it")

    def ended(self, s: State) -> bool:
        """Whether nothing is left to do."""
        return (
            all(run.status is Status.ENDED for run in s.runs)
            and not s.carriers
            and (not self.scene.client or self._has_all(s))
        )

    def _has_all(self, s: State) -> bool:
        one = s.listener
        return one.place is Place.LIVE and not one.inbox and one.cursor >= s.last

    def check_end(self, s: State) -> None:
        """What must hold when nothing is left to do."""
        words = [word for row in s.rows for word in words_of(row.data)]
        for number in range(1, len(s.runs) + 1):
            types = [parsed(word).type for word in words if parsed(word).run == number]
            if types.count(RUN_STARTED) != 1 or types[0] != RUN_STARTED:
                raise Violation(f"in SQL run {number} does not start once and first: {types}")
            if types.count(END) != 1 or types[-1] != END:
                raise Violation(f"in SQL run {number} does not end once and last: {types}")
        for fence in range(1, s.fence + 1):
            seqs = [parsed(word).at.seq for word in words if parsed(word).at.fence == fence]
            if seqs != list(range(1, len(seqs) + 1)):
                raise Violation(f"in SQL the seqs of fence {fence} have a gap: {seqs}")
        if self.scene.client:
            self._check_record(s, words)

    def _check_record(self, s: State, words: list[str]) -> None:
        """What the client has is what SQL has. One loss is no breach: Redis and a carrier lost
        together; what the client has seen of it is withdrawn by the take-over's snapshot."""
        one = s.listener
        expected = [word for word in words if one.base is None or parsed(word).at > one.base]
        if [word for word in one.record if word in words] != expected:
            raise Violation(f"the client's record is not SQL's: {one.record}, {expected}")
        lost = s.faults.flush < self.start.faults.flush or s.faults.lose < self.start.faults.lose
        for word in set(one.record) - set(words):
            ghost = parsed(word)
            withdrawn = any(
                parsed(other).run == ghost.run and parsed(other).at.fence > ghost.at.fence
                for other in words
            )
            if not (lost and withdrawn):
                raise Violation(f"the client has {word}, and SQL does not")
