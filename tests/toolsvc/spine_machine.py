"""The record and the stream against the model: any order of requests, one at a time.

The specification is `tests.model`: its `Record` says what a claim or a commit does to SQL, its
carriers what the stream says. Here the same requests go to the real statements and the real
script, honest ones and others: repeated, changed, with gaps, stale, from the future. After each
the two stores have to hold what the model says.
"""

from hashlib import sha256
from typing import Any, cast
from uuid import UUID

import orjson
import psycopg
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.bus.append import Answer, Batch, Entry, Mode, append
from shared.bus.events import read_all_after
from shared.bus.keys import events_key
from shared.errors import BatonError
from shared.protocol import record as wire
from shared.protocol.position import START, Position
from shared.protocol.record import ClaimRequest
from tests.model.record import RefusedError, put_run
from tests.model.search import Violation
from tests.model.spine import Spine
from tests.model.state import (
    END,
    RESUMED,
    TEXT,
    At,
    Carrier,
    Commit,
    Faults,
    Row,
    Run,
    Scene,
    Status,
    Step,
    entry,
    parsed,
    row_of,
)
from tests.toolsvc.record_rig import Person, RecordRig
from tests.toolsvc.spine_world import Queued, Thread, World, Writer, compare, content, real, said
from toolsvc.runs import claim, close, commit, lease

RUNNERS = {"r1": ("A",), "r2": ("A", "B")}


class SpineMachine(RuleBasedStateMachine):
    """Two threads, two runners, and every claim that was ever made."""

    world: World

    def __init__(self) -> None:
        super().__init__()
        self.model = Spine(Scene(client=False), Faults())
        self.threads: list[Thread] = []
        self.writers: list[Writer] = []
        self.alive = dict.fromkeys(RUNNERS, False)
        self.person: Person

    @property
    def rig(self) -> RecordRig:
        return self.world.rig

    @property
    def runs(self) -> list[Queued]:
        return [run for thread in self.threads for run in thread.runs]

    def do(self, coroutine: Any) -> Any:
        return self.world.do(coroutine)

    # ------------------------------------------------------------------ people
    @initialize()
    def begin(self) -> None:
        self.do(self.world.empty())
        self.person = self.do(self.rig.person())
        self.threads = [Thread(self.do(self.rig.thread(self.person, "A"))) for _ in range(2)]
        for runner, agents in RUNNERS.items():
            served = wire.Catalogue(agents={agent: {"digest": "d"} for agent in agents})
            self.do(self._with_engine(lease.announce, _holder(runner), served, life_s=60.0))
            self.renew(runner, named=True)
        self.accept(0, "A")

    @rule(at=st.integers(0, 1), agent=st.sampled_from("AAB"))
    def accept(self, at: int, agent: str) -> None:
        thread = self.threads[at]
        ready = all(run.row.status is Status.ENDED for run in thread.runs)
        made = self.do(self.rig.run(self.person, thread.id, ready=ready, agent=agent))
        run = Queued(made, thread, len(thread.runs), agent, self.person.turn)
        thread.runs.append(run)
        thread.state = thread.state._replace(runs=(*thread.state.runs, Run()))

    @precondition(lambda self: any(run.row.status is Status.RUNNING for run in self.runs))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        """Its runner does nothing about it: toolsvc claims the run and ends it."""
        carried = [run for run in self.runs if run.row.status is Status.RUNNING]
        run = data.draw(st.sampled_from(carried))
        run.thread.state = put_run(run.thread.state, run.number, cancelled=True)
        self.do(self.rig.cancel(run.id))
        self.do(close.close_cancelled(self.rig.services, run.id))
        s = _only(self.model.claim(run.thread.state, run.number, closer=True)).state
        while s.carriers:
            s = _only(self.model.carriers(s)).state
        run.thread.state, run.owner, run.closed = s, None, True

    # ------------------------------------------------------------------ leases
    @rule(runner=st.sampled_from(sorted(RUNNERS)), named=st.booleans())
    def renew(self, runner: str, named: bool) -> None:
        carried = [w for w in self.writers if w.run.owner == runner] if named else []
        names = [wire.Carried(w.run.id, w.carrier.fence, 0) for w in carried]
        beat = wire.Heartbeat(runs=names)
        news = self.do(self._with_engine(lease.renew, _holder(runner), beat, life_s=60.0))
        self.alive[runner] = True
        for run in self.runs:
            if run.owner == runner and run.old and run.id not in {one.run for one in names}:
                run.owner = None
        assert {(one.run, one.fence, one.carried) for one in news} == {
            (w.run.id, w.run.thread.state.fence, True) for w in carried
        }

    @rule(runner=st.sampled_from(sorted(RUNNERS)), by_itself=st.booleans())
    def lose_lease(self, runner: str, by_itself: bool) -> None:
        """It gives its runs away, or is silent for long."""
        if by_itself:
            self.do(self._with_engine(lease.release, _holder(runner)))
            for run in self.runs:
                run.owner = None if run.owner == runner else run.owner
        else:
            past = "UPDATE runners SET lease_until = now() - interval '1 s' WHERE id = :id"
            self.do(self.rig.sql(past, id=runner))
        self.alive[runner] = False

    @rule()
    def grow_old(self) -> None:
        """All claims were made more than a lease's life ago."""
        self.do(self.rig.sql("UPDATE runs SET claimed_at = claimed_at - interval '1 h'"))
        for run in self.runs:
            run.old = run.row.status is Status.RUNNING

    # ------------------------------------------------------------------ claims
    @rule(runner=st.sampled_from(sorted(RUNNERS)), hinted=st.booleans(), data=st.data())
    def claim(self, runner: str, hinted: bool, data: st.DataObject) -> None:
        hint = data.draw(st.sampled_from(self.runs)) if hinted else None
        wanted = ClaimRequest(runner=runner, slots=1, hint=hint.id if hint else None)
        # The model knows nothing of poison: who may carry a run is not what makes the spine hold.
        self.do(self.rig.sql("UPDATE runs SET deaths = 0"))
        found = self.do(self._with_direct(claim.claim_next, wanted, may_judge=True)).claim
        expected = self._whose_turn(runner, hint)
        assert (found.row.id if found else None) == (expected.id if expected else None)
        if expected is None:
            return
        thread = expected.thread
        s = _only(self.model.claim(thread.state, expected.number, closer=False)).state
        carrier = s.carriers[-1]
        assert (found.fence, found.first) == (carrier.fence, expected.row.fence == 0)
        assert Position(found.row.last_fence, found.row.last_seq) == carrier.sql_last
        thread.state = s._replace(carriers=())
        expected.owner, expected.old = runner, False
        self.writers.append(Writer(expected, carrier, starts=found.starts))

    def _whose_turn(self, runner: str, hint: Queued | None) -> Queued | None:
        if not self.alive[runner]:
            return None

        def may_carry(run: Queued) -> bool:
            return run.agent in RUNNERS[runner] or run.row.cancelled

        waiting = [
            run
            for run in self.runs
            if run.row.status is Status.QUEUED
            and may_carry(run)
            and all(other.row.status is Status.ENDED for other in run.thread.runs[: run.number])
        ]
        stranded = (
            hint and hint.row.status is Status.RUNNING and not self.alive.get(hint.owner or "")
        )
        if hint and stranded and may_carry(hint):
            return hint
        return min(waiting, key=lambda run: run.turn, default=None)

    # ------------------------------------------------------------------ commits
    @precondition(lambda self: self.writers)
    @rule(data=st.data(), words=st.integers(0, 3), steps=st.integers(0, 1), ends=st.booleans())
    def commit_next(self, data: st.DataObject, words: int, steps: int, ends: bool) -> None:
        """What an honest carrier sends; a zombie is honest too."""
        writer = self._writer(data)
        c = writer.carrier
        rows = said(c, c.committed + 1, words)
        last = rows[-1].seq_to if rows else c.committed
        if ends:
            rows = (*rows, row_of(entry(c.fence, last + 1, END, c.run + 1)))
        tail = self._tail(writer) if c.commits == 0 and len(writer.starts) > 1 else None
        if self._commit(writer, Commit(c.commits + 1, rows, tail, steps, ends)):
            upto = rows[-1].seq_to if rows else c.committed
            writer.carrier = c._replace(
                commits=c.commits + 1, committed=upto, last=max(c.last, upto)
            )

    @precondition(lambda self: any(writer.sent for writer in self.writers))
    @rule(data=st.data(), changed=st.booleans())
    def commit_again(self, data: st.DataObject, changed: bool) -> None:
        sent = [writer for writer in self.writers if writer.sent]
        writer = data.draw(st.sampled_from(sent))
        repeated = cast("Commit", writer.sent)
        self._commit(writer, repeated._replace(steps=repeated.steps + 1) if changed else repeated)

    @precondition(lambda self: self.writers)
    @rule(
        data=st.data(),
        n=st.integers(-1, 2),
        fence=st.integers(-1, 1),
        seq=st.integers(0, 2),
        tail=st.sampled_from([None, (), "stale", "start"]),
    )
    def commit_anything(self, data: st.DataObject, n: int, fence: int, seq: int, tail: Any) -> None:
        """What no carrier of ours sends. What is taken of it has to be sound all the same."""
        writer = self._writer(data)
        c = writer.carrier
        if tail == "stale":
            tail = tuple(row for row in writer.run.thread.state.rows[-2:] if row.run == c.run + 1)
        elif tail == "start":
            tail = (row_of(entry(c.fence, 1, RESUMED, c.run + 1)),)
        rows = said(c._replace(fence=max(c.fence + fence, 1)), c.committed + seq, 1)
        wanted = Commit(max(c.commits + n, 1), rows, tail)
        if self._commit(writer, wanted, fence=max(c.fence + fence, 1)):
            fresh = wanted.n == c.commits + 1
            upto = rows[-1].seq_to if fresh else c.committed
            writer.carrier = c._replace(commits=wanted.n, committed=upto, last=max(c.last, upto))

    def _commit(self, writer: Writer, wanted: Commit, *, fence: int | None = None) -> bool:
        """Send it to both; they have to agree. Returns whether it is stored now."""
        run, thread = writer.run, writer.run.thread
        c = writer.carrier._replace(fence=fence or writer.carrier.fence)
        try:
            after = self.model.commit(thread.state, c, wanted)
            expected = "repeated" if after is thread.state else "stored"
        except RefusedError as refused:
            expected = refused.code
        except Violation:  # it would break what must hold
            expected = "conflict"
        sent = self._on_the_wire(run, c, wanted)
        said = repr((c.fence, wanted)).encode()
        assert self.do(self._answer(run.id, sent, sha256(said).digest())) == expected
        if expected == "stored":
            thread.state = after
            writer.sent = wanted
            if wanted.ends:
                run.owner = None
        return expected in ("stored", "repeated")

    async def _answer(self, run: UUID, sent: wire.Commit, digest: bytes) -> str:
        key = self.rig.services.receipt_key
        try:
            async with self.rig.services.direct.transaction() as db:
                done = await commit.apply_commit(db, run, sent, digest, key=key)
        except BatonError as error:
            return str(error.code)
        except psycopg.IntegrityError:
            return "conflict"
        return "repeated" if done.repeated else "stored"

    def _on_the_wire(self, run: Queued, c: Carrier, wanted: Commit) -> wire.Commit:
        taken = run.thread.state.journal
        steps = [
            wire.StepRecord(scope="s", kind="model", place=f"{taken}.{i}", digest="", record="{}")
            for i in range(wanted.steps)
        ]
        tail = None
        if wanted.tail is not None:
            tail = [wire.ForeignRow(row.fence, row.seq, *content(row)) for row in wanted.tail]
        return wire.Commit(
            fence=c.fence,
            n=wanted.n,
            tail=tail,
            rows=[wire.Row(row.seq, row.seq_to, *content(row)) for row in wanted.rows],
            steps=steps,
            end=wire.End(outcome=wire.Outcome.FINISHED) if wanted.ends else None,
        )

    def _tail(self, writer: Writer) -> tuple[Row, ...]:
        """Read as carriers read it, from the real stream."""
        c, thread = writer.carrier, writer.run.thread
        known = {(one.fence, one.seq) for one in writer.starts}
        read = self.do(read_all_after(self.rig.redis, thread.id, c.sql_last))
        found = [one.at for one in read if one.at not in known and one.at.fence < c.fence]
        tail = self.model.tail(thread.state, c)
        assert found == [row.at for row in tail]
        return tail

    # ------------------------------------------------------------------ the stream
    @precondition(lambda self: self.writers)
    @rule(data=st.data())
    def append_starts(self, data: st.DataObject) -> None:
        writer = self._writer(data)
        c = writer.carrier._replace(at=At.START)
        starts = [
            Entry(Position(one.fence, one.seq), one.type, "run", one.data) for one in writer.starts
        ]
        self._append(writer, c, starts, Mode.CREATE, sql_last=c.sql_last)

    @precondition(lambda self: self.writers)
    @rule(
        data=st.data(),
        skipped=st.integers(-2, 2),
        count=st.integers(1, 3),
        mode=st.sampled_from([Mode.APPEND, Mode.APPEND, Mode.FORCE]),
    )
    def append_own(self, data: st.DataObject, skipped: int, count: int, mode: Mode) -> None:
        """The next events, or some that were sent before, or some after a gap."""
        writer = self._writer(data)
        c = writer.carrier
        low = max(2, c.last + 1 + skipped)
        own = [entry(c.fence, seq, TEXT, c.run + 1) for seq in range(low, low + count)]
        if self._append(writer, c, [real(one) for one in own], mode):
            writer.carrier = c._replace(last=max(c.last, low + count - 1))

    @precondition(lambda self: any(thread.state.stream for thread in self.threads))
    @rule(data=st.data(), kept=st.integers(0, 3))
    def lose_entries(self, data: st.DataObject, kept: int) -> None:
        """FLUSHALL, or a failover."""
        thread = data.draw(st.sampled_from([one for one in self.threads if one.state.stream]))
        self.do(self._keep(thread.id, kept))
        thread.state = thread.state._replace(stream=thread.state.stream[:kept])

    async def _keep(self, thread: UUID, kept: int) -> None:
        entries = (await read_all_after(self.rig.redis, thread, START))[:kept]
        await self.rig.redis.delete(events_key(thread))
        for one in entries:
            fields: dict[Any, Any] = {"type": one.type, "run": one.run, "data": one.data}
            await self.rig.redis.xadd(events_key(thread), fields, id=str(one.at))

    def _append(
        self, writer: Writer, c: Carrier, entries: list[Entry], mode: Mode, **more: Any
    ) -> bool:
        thread = writer.run.thread
        reply = self.do(append(self.rig.redis, Batch(thread.id, c.fence, entries, mode, **more)))
        modelled = [self._modelled(thread, one) for one in entries]
        batch = Batch(UUID(int=0), c.fence, tuple(modelled), mode, **more)
        stream, expected, _ = self.model.append(thread.state.stream, batch)
        assert reply == expected
        thread.state = thread.state._replace(stream=stream)
        return expected.answer is Answer.OK

    def _modelled(self, thread: Thread, one: Entry) -> Entry:
        """An event as the model writes it."""
        stored = next((row for row in thread.state.rows if row.at == one.at), None)
        if stored is not None and stored.seq == 1:
            return Entry(one.at, stored.type, str(stored.run), stored.data)
        return entry(*one.at, TEXT, parsed(orjson.loads(one.data)["said"]).run)

    # ------------------------------------------------------------------ what must hold
    @invariant()
    def the_stores_hold_what_the_model_says(self) -> None:
        self.do(self._compare_all())

    async def _compare_all(self) -> None:
        async with self.rig.services.engine.connect() as db:
            for thread in self.threads:
                await compare(db, self.rig.redis, thread)

    # ------------------------------------------------------------------ helpers
    def _writer(self, data: st.DataObject) -> Writer:
        """Any, the newest more often."""
        return data.draw(st.sampled_from([*self.writers, *self.writers[-1:] * 2]))

    async def _with_engine(self, ask: Any, *arguments: Any, **more: Any) -> Any:
        async with self.rig.services.engine.begin() as db:
            return await ask(db, *arguments, **more)

    async def _with_direct(self, ask: Any, *arguments: Any, **more: Any) -> Any:
        async with self.rig.services.direct.transaction() as db:
            return await ask(db, *arguments, **more)


def _holder(runner: str) -> lease.Holder:
    return lease.Holder(runner, None)


def _only(steps: Any) -> Step:
    (step,) = steps
    return cast("Step", step)
