"""A clean record of one conversation with two runs, for tests to spoil."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from drill.evidence import Effect, EventRow, Evidence, ModelCall, RunRow, SpanRow, ThreadRow
from drill.judge import judge
from drill.plan import FaultKind
from drill.poison import Killed
from drill.records import Hit, Request, Restated, Seen, Watched
from drill.talk import Ask, Kind
from drill.verdict import Wrong
from shared.chain import extend, sealed
from shared.protocol.position import parse_position

THREAD = "thr_c0"
ONE, TWO = "run_c0x0x", "run_c0x1x"


def ask(run: str, **fields: Any) -> Ask:
    given: dict[str, Any] = {
        "run": run,
        "kind": Kind.LEDGER,
        "mark": run.removeprefix("run_"),
        "text": run.removeprefix("run_"),
        "at_s": 0.0,
        "queued": False,
        "answer": "word1 word2 word3",
        "ledger": 2,
        "notes": 1,
    }
    return Ask(**(given | fields))


def started(run: str) -> dict[str, Any]:
    return {"type": "RUN_STARTED", "runId": run}


def finished(run: str) -> dict[str, Any]:
    return {"type": "RUN_FINISHED", "runId": run}


def chunk(delta: str, message: str = "m") -> dict[str, Any]:
    return {"type": "TEXT_MESSAGE_CHUNK", "messageId": message, "delta": delta}


def snapshot(*messages: tuple[str, str]) -> dict[str, Any]:
    found = [{"id": id_, "role": "assistant", "content": text} for id_, text in messages]
    return {"type": "MESSAGES_SNAPSHOT", "messages": found}


RESUMED = {"type": "CUSTOM", "name": "baton.resumed"}

#: Under which id, of which run, and up to which seq SQL keeps it.
STORED: list[tuple[str, int, str, dict[str, Any]]] = [
    ("1-1", 1, ONE, started(ONE)),
    ("1-2", 4, ONE, chunk("word1 word2 word3", "a")),
    ("1-5", 5, ONE, finished(ONE)),
    ("2-1", 1, TWO, started(TWO)),
    ("2-2", 3, TWO, chunk("word1 ", "b")),
    ("3-1", 1, TWO, RESUMED),
    ("3-2", 2, TWO, snapshot(("a", "word1 word2 word3"))),
    ("3-3", 5, TWO, chunk("word1 word2 word3", "c")),
    ("3-6", 6, TWO, finished(TWO)),
]

SHOWN: list[tuple[str, dict[str, Any]]] = [
    ("1-1", started(ONE)),
    ("1-2", chunk("word1 ", "a")),
    ("1-3", chunk("word2 ", "a")),
    ("1-4", chunk("word3", "a")),
    ("1-5", finished(ONE)),
    ("2-1", started(TWO)),
    ("2-3", chunk("word1 ", "b")),  # joined
    ("3-1", RESUMED),
    ("3-2", snapshot(("a", "word1 word2 word3"))),
    ("3-3", chunk("word1 ", "c")),
    ("3-4", chunk("word2 ", "c")),
    ("3-5", chunk("word3", "c")),
    ("3-6", finished(TWO)),
]


def seen(id_: str, event: dict[str, Any], at: float = 5.0) -> Seen:
    position = parse_position(id_)
    assert position
    return Seen(at=at, position=position, event=event)


def restated(cursor: str) -> Restated:
    position = parse_position(cursor)
    assert position
    return Restated(at=5.0, cursor=position)


def thread(stored: list[tuple[str, int, str, dict[str, Any]]]) -> ThreadRow:
    sealed_rows = []
    for id_, seq_to, _, event in stored:
        at = parse_position(id_)
        assert at
        sealed_rows.append(sealed(at.fence, at.seq, seq_to, event["type"], json.dumps(event)))
    rows = [
        EventRow(run=run, row=one.row, hash=one.hash)
        for one, (_, _, run, _) in zip(extend(None, sealed_rows), stored, strict=True)
    ]
    return ThreadRow(
        thread=THREAD, settled=rows[-1].row.fence, chain=rows[-1].hash, rows=tuple(rows)
    )


def call(run: str, items: int, agent: str = "Drill", digest: str | None = None) -> ModelCall:
    mark = run.removeprefix("run_")
    return ModelCall(mark=mark, agent=agent, items=items, digest=digest or f"{agent} {items}")


@dataclass
class Scene:
    """What the judge is given; clean until a test has spoilt it."""

    stored: list[tuple[str, int, str, dict[str, Any]]] = field(default_factory=lambda: [*STORED])
    frames: list[Seen | Restated] = field(
        default_factory=lambda: [seen(id_, event) for id_, event in SHOWN]
    )
    asks: dict[str, Ask] = field(default_factory=lambda: {run: ask(run) for run in (ONE, TWO)})
    runs: dict[str, RunRow] = field(
        default_factory=lambda: {
            run: RunRow(
                run=run,
                thread=THREAD,
                status="finished",
                error_code=None,
                answer="word1 word2 word3",
            )
            for run in (ONE, TWO)
        }
    )
    requests: list[Request] = field(default_factory=list)
    accepted: dict[str, float] = field(default_factory=lambda: {ONE: 1.0, TWO: 2.0})
    ended: dict[str, float] = field(default_factory=lambda: {ONE: 5.0, TWO: 9.0})
    cancels: set[str] = field(default_factory=set)
    calls: list[ModelCall] = field(
        default_factory=lambda: [
            *(call(ONE, 1), call(ONE, 3), call(ONE, 5)),
            *(call(TWO, 7), call(TWO, 9), call(TWO, 9), call(TWO, 11)),
        ]
    )
    ledger: list[Effect] = field(
        default_factory=lambda: [
            Effect(run=run, key=f"{run} {number}") for run in (ONE, TWO) for number in (1, 2)
        ]
    )
    notes: dict[str, int] = field(default_factory=lambda: {"c0x0x": 1, "c0x1x": 1})
    spans: list[SpanRow] = field(default_factory=lambda: [SpanRow(id="s1", run=ONE, ended=True)])
    exported: list[str] = field(default_factory=lambda: ["s1"])
    hits: list[Hit] = field(default_factory=list)
    killed: list[Killed] = field(default_factory=list)
    calls_missed: int = 0
    cut_short: bool = False

    def watched(self) -> Watched:
        return Watched(
            client=0,
            thread=THREAD,
            asks=tuple(self.asks.values()),
            frames=self.frames,
            requests=self.requests,
            accepted=self.accepted,
            ended=self.ended,
            cancels=self.cancels,
        )

    def evidence(self) -> Evidence:
        return Evidence(
            runs=self.runs,
            threads={THREAD: thread(self.stored)},
            spans=self.spans,
            exported=self.exported,
            calls=self.calls,
            calls_missed=self.calls_missed,
            ledger=self.ledger,
            notes=self.notes,
            killed=self.killed,
        )

    def found(self) -> set[Wrong]:
        violations = judge([self.watched()], self.evidence(), self.hits, cut_short=self.cut_short)
        return {one.kind for one in violations}

    def ends(self, run: str, status: str, code: str | None = None) -> None:
        self.runs[run] = replace(self.runs[run], status=status, error_code=code)


def hit(kind: FaultKind, at: float) -> Hit:
    return Hit(at=at, kind=kind, target="one")
