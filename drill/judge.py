"""The judge: from what was recorded to violations. No I/O, and nothing that the services claim."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain as chained

from drill.evidence import Effect, Evidence, ModelCall, RunRow, ThreadRow
from drill.judge_poison import judge_poison
from drill.judge_streams import is_end, judge_stream, shown_answers, told_by_reset
from drill.plan import FaultKind
from drill.records import Hit, Watched
from drill.talk import Ask, Kind
from drill.verdict import Violation, Wrong
from shared.chain import BEGINNING, digest_of, linked

LIVE = frozenset({"queued", "running"})

#: A run may fail by this if toolsvc died while it went on: nobody can know whether the tool, which
#: is not idempotent, took effect. That is what the ledger promises instead of doing it twice.
UNKNOWN_OUTCOME = "tool_outcome_unknown"

#: An agent used as a tool; all others are the run's main line.
SUB_AGENT = "Summarizer"


def judge(
    watched: Sequence[Watched], evidence: Evidence, hits: Sequence[Hit], *, cut_short: bool = False
) -> list[Violation]:
    """All violations. `cut_short`: the drill was ended early, and runs may still be under way."""
    found: list[Violation] = []
    for one in watched:
        thread = evidence.threads.get(one.thread)
        whole = not cut_short and all(ask.run in one.ended for ask in one.asks)
        found += judge_stream(one, thread, hits, whole=whole)
        found += judge_ends(one, evidence.runs, thread, cut_short=cut_short)
        found += judge_requests(one)
        found += judge_answers(one, evidence.runs)
        found += judge_outcomes(one, evidence.runs, hits)
        found += judge_poison(one, evidence.runs, evidence.killed, hits, live=LIVE)
    asks = {ask.run: ask for one in watched for ask in one.asks}
    ended = {run for run, row in evidence.runs.items() if row.status not in LIVE}
    for thread in evidence.threads.values():
        found += judge_brackets(thread, ended)
        found += judge_chain(thread)
    found += judge_calls(evidence.calls, asks, claims(evidence.threads.values()))
    found += judge_effects(evidence.ledger, asks, evidence.runs)
    found += judge_notes(evidence.notes, asks, evidence.runs)
    found += judge_spans(evidence, ended)
    found += judge_evidence(evidence, asks)
    if evidence.calls_missed:
        what = f"{evidence.calls_missed} model calls were not seen"
        found.append(Violation(kind=Wrong.EVIDENCE, where="model", what=what))
    return found


def judge_evidence(evidence: Evidence, asks: Mapping[str, Ask]) -> Iterator[Violation]:
    """What a finished run says came from the model, whose log tells of it; else that is blind.

    It tells nothing of what was asked without a mark.
    """
    called = {call.mark for call in evidence.calls}
    for run, row in evidence.runs.items():
        ask = asks.get(run)
        if ask is None or row.status != "finished" or ask.mark not in ask.text:
            continue
        if row.answer and ask.mark not in called:
            what = "finished with an answer, and the model's log has no call of it"
            yield Violation(kind=Wrong.EVIDENCE, where=run, what=what)


def claims(threads: Iterable[ThreadRow]) -> dict[str, int]:
    """How many claims each run has had: each stores at least one event under its own fence."""
    fences = defaultdict[str, set[int]](set)
    for one in chained.from_iterable(thread.rows for thread in threads):
        fences[one.run].add(one.row.fence)
    return {run: len(found) for run, found in fences.items()}


def judge_ends(
    watched: Watched, runs: Mapping[str, RunRow], thread: ThreadRow | None, *, cut_short: bool
) -> Iterator[Violation]:
    """Each accepted run ends, and its client learns of it."""
    told = told_by_reset(watched, thread.rows if thread else ())
    for run, at in watched.accepted.items():
        row = runs.get(run)
        if row is None:
            yield Violation(kind=Wrong.LOST, where=run, what="accepted, and not in SQL", at=at)
        elif row.status in LIVE:
            if not cut_short:
                yield Violation(kind=Wrong.LOST, where=run, what=f"is still {row.status}", at=at)
        elif run not in watched.ended and run not in told and not cut_short:
            what = f"ended ({row.status}), and its client never learnt of it"
            yield Violation(kind=Wrong.LOST, where=run, what=what, at=at)


def judge_requests(watched: Watched) -> Iterator[Violation]:
    """No request of a well-behaved client is refused for good."""
    for one in watched.requests:
        # A cancel may come too late, which is an answer and no fault.
        if one.code not in (None, "ok") and not one.retryable and one.op != "cancel":
            what = f"{one.op} was answered {one.code}"
            where = one.run or watched.thread
            yield Violation(kind=Wrong.REFUSED, where=where, what=what, at=one.asked_at)


def judge_answers(watched: Watched, runs: Mapping[str, RunRow]) -> Iterator[Violation]:
    """The text of a finished run is the model's, in the client's view and in SQL."""
    expected = {ask.run: ask.answer for ask in watched.asks if ask.answer is not None}
    finished = {run for run in expected if run in runs and runs[run].status == "finished"}
    for run in sorted(finished):
        if runs[run].answer != expected[run]:
            yield Violation(kind=Wrong.TEXT, where=run, what=f"stored: {runs[run].answer!r:.120}")
    for run, text in shown_answers(watched):
        if run in finished and text != expected[run]:
            yield Violation(kind=Wrong.TEXT, where=run, what=f"shown: {text!r:.120}")


def judge_outcomes(
    watched: Watched, runs: Mapping[str, RunRow], hits: Sequence[Hit]
) -> Iterator[Violation]:
    """No run fails or is cancelled but for a cause that the drill has set."""
    for ask in watched.asks:
        row = runs.get(ask.run)
        if row is None or row.status in {*LIVE, "finished"} or ask.kind is Kind.POISON:
            continue
        if row.status == "cancelled" and ask.run in watched.cancels:
            continue
        began = watched.accepted.get(ask.run, 0.0)
        over = watched.ended.get(ask.run, float("inf"))
        if row.error_code == UNKNOWN_OUTCOME and _toolsvc_died(hits, began, over):
            continue
        what = f"{row.status}: {row.error_code}"
        yield Violation(kind=Wrong.FAILED, where=ask.run, what=what, at=watched.ended.get(ask.run))


def _toolsvc_died(hits: Sequence[Hit], since: float, until: float) -> bool:
    kind = FaultKind.KILL_TOOLSVC
    return any(hit.kind is kind and not hit.missed and since <= hit.at <= until for hit in hits)


def judge_brackets(thread: ThreadRow, ended: set[str]) -> Iterator[Violation]:
    """A run begins once, ends once, and has nothing after its end."""
    kinds = defaultdict[str, list[str]](list)
    for one in thread.rows:
        kinds[one.run].append(one.row.type)
    for run, found in kinds.items():
        begins = found.count("RUN_STARTED")
        ends = sum(is_end(kind) for kind in found)
        if begins != 1 or ends != (run in ended) or (ends and not is_end(found[-1])):
            what = f"{begins} beginnings, {ends} ends, the last event is {found[-1]}"
            yield Violation(kind=Wrong.TERMINALS, where=run, what=what)


def judge_chain(thread: ThreadRow) -> Iterator[Violation]:
    """Every row's hash follows from the row before, and the ids have no gaps."""
    last, before = BEGINNING, (0, 0)
    for one in thread.rows:
        row = one.row
        at = f"{row.fence}-{row.seq}"
        follows = before[1] + 1 if row.fence == before[0] else 1
        before = (row.fence, row.seq_to)
        if row.seq != follows:
            yield Violation(kind=Wrong.CHAIN, where=thread.thread, what=f"a gap before {at}")
        if digest_of(row.salt, row.data) != row.digest:
            yield Violation(kind=Wrong.CHAIN, where=thread.thread, what=f"{at} was changed")
        last = linked(last, at, row.seq_to, row.type, row.digest)
        if one.hash != last and row.fence <= thread.settled:
            yield Violation(kind=Wrong.CHAIN, where=thread.thread, what=f"breaks at {at}")
            return
    if thread.rows and thread.rows[-1].row.fence <= thread.settled and last != thread.chain:
        yield Violation(kind=Wrong.CHAIN, where=thread.thread, what="rows at its end are missing")


def judge_calls(
    calls: Sequence[ModelCall], asks: Mapping[str, Ask], claimed: Mapping[str, int]
) -> Iterator[Violation]:
    """A finished model call is not made again; one that was cut by a take-over may be.

    That a call had finished is seen from outside by a later one that builds on it. Besides, each
    further claim may repeat only what was under way: one call, or one for each parallel branch.
    """
    by_mark = {ask.mark: ask for ask in asks.values()}
    grouped = defaultdict[str, list[ModelCall]](list)
    for call in calls:
        grouped[call.mark].append(call)
    for mark, made in grouped.items():
        if ask := by_mark.get(mark):
            yield from _calls_of_run(ask, made, claimed.get(ask.run, 0))


def _calls_of_run(ask: Ask, made: Sequence[ModelCall], claimed: int) -> Iterator[Violation]:
    furthest, first = 0, 0
    times = Counter[tuple[str, object]]()
    for call in made:
        if call.agent == SUB_AGENT:
            times[call.agent, call.digest] += 1
            # The main line goes on only when all agents used as tools have answered.
            if furthest > first:
                yield _called_again(ask, call, "after the run had gone on")
            continue
        times[call.agent, call.items] += 1
        first = first or call.items
        if call.items < furthest:
            yield _called_again(ask, call, f"with {call.items} items, after one with {furthest}")
        furthest = max(furthest, call.items)
    repeats = sum(times.values()) - len(times)
    allowed = max(0, claimed - 1) * ask.branches
    if repeats > allowed:
        what = f"{repeats} repeated calls, where {claimed} claims explain at most {allowed}"
        yield Violation(kind=Wrong.CALLS, where=ask.run, what=what)


def _called_again(ask: Ask, call: ModelCall, how: str) -> Violation:
    return Violation(kind=Wrong.CALLS, where=ask.run, what=f"{call.agent} was called {how}")


def judge_effects(
    ledger: Sequence[Effect], asks: Mapping[str, Ask], runs: Mapping[str, RunRow]
) -> Iterator[Violation]:
    """The ledger outside has each effect once, and those of finished runs."""
    keys = Counter(effect.key for effect in ledger)
    for effect in {one.key: one for one in ledger}.values():
        if (times := keys[effect.key]) > 1:
            what = f"one call took effect {times} times"
            yield Violation(kind=Wrong.EFFECTS, where=effect.run, what=what)
    done = Counter(effect.run for effect in ledger)
    for run, ask in asks.items():
        yield from _counted(run, runs.get(run), done[run], ask.ledger, "lines")
    for run in done.keys() - asks.keys():
        yield Violation(kind=Wrong.EFFECTS, where=run, what="lines of a run that nobody asked for")


def judge_notes(
    notes: Mapping[str, int], asks: Mapping[str, Ask], runs: Mapping[str, RunRow]
) -> Iterator[Violation]:
    """The notes are those that were asked for."""
    for run, ask in asks.items():
        yield from _counted(run, runs.get(run), notes.get(ask.mark, 0), ask.notes, "notes")


def _counted(
    run: str, row: RunRow | None, found: int, asked: int, what: str
) -> Iterator[Violation]:
    if found > asked:
        told = f"{found} {what} instead of {asked}"
        yield Violation(kind=Wrong.EFFECTS, where=run, what=told)
    elif found < asked and row is not None and row.status == "finished":
        told = f"{found} {what} instead of {asked}"
        yield Violation(kind=Wrong.UNDONE, where=run, what=told)


def judge_spans(evidence: Evidence, ended: set[str]) -> Iterator[Violation]:
    """No span of an ended run is open, and none was exported twice."""
    for span in evidence.spans:
        if not span.ended and span.run in ended:
            yield Violation(kind=Wrong.SPANS, where=span.run, what=f"{span.id} is open")
    run_of = {span.id: span.run for span in evidence.spans}
    for id_, times in Counter(evidence.exported).items():
        if times > 1:
            where = run_of.get(id_, "?")
            what = f"{id_} was exported {times} times"
            yield Violation(kind=Wrong.EXPORTS, where=where, what=what)
