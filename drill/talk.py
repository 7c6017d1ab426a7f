"""What clients say: kinds of runs, the text that brings one about, and what has to come of it."""

import random
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from stack.demo_model import wording
from stack.demo_model.question import ToolOutput

#: Stands in every text, so that whoever reads a model call knows whose it is.
MARK = re.compile(r"c\d+x\d+x")

AGENT = "Drill"


class Kind(StrEnum):
    """What a run is about."""

    PLAIN = "plain"  #: a short answer
    LONG = "long"  #: a long answer, streamed
    PARALLEL = "parallel"  #: three tool calls in one response
    LEDGER = "ledger"  #: an effect outside of the system, several turns in a row
    NOTES = "notes"  #: an effect in our own Postgres, several turns in a row
    HANDOFF = "handoff"  #: another agent answers
    NESTED = "nested"  #: two agents as tools, at the same time
    CANCEL = "cancel"  #: a long answer that the client does not wait for
    POISON = "poison"  #: its tool kills the process that carries it, each time


#: How often each kind is asked for; poisonous runs are few, and the plan puts them in.
WEIGHTS = {
    Kind.PLAIN: 3,
    Kind.LONG: 6,
    Kind.PARALLEL: 3,
    Kind.LEDGER: 5,
    Kind.NOTES: 3,
    Kind.HANDOFF: 3,
    Kind.NESTED: 3,
    Kind.CANCEL: 2,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One message of a client, and what has to come of it."""

    run: str
    kind: Kind
    mark: str
    text: str
    at_s: float  #: not before
    queued: bool  #: sent without waiting for the answers before it
    answer: str | None  #: the run's last text, where it can be foretold
    ledger: int = 0  #: effects of the tool `ledger`
    notes: int = 0  #: effects of the tool `save_note`
    cancel_after_s: float | None = None
    branches: int = 1  #: model calls that can be under way at the same time


def make_ask(
    dice: random.Random,
    kinds: Collection[Kind],
    *,
    mark: str,
    run: str,
    at_s: float,
    queued: bool,
) -> Ask:
    """A message of one of these kinds, by the dice."""
    weights = [WEIGHTS.get(one, 0) for one in kinds]
    kind = dice.choices(list(kinds), weights)[0]
    ask = Ask(run=run, kind=kind, mark=mark, text="", at_s=at_s, queued=queued, answer=None)
    return _MAKERS[kind](dice, ask)


def poisonous(ask: Ask) -> Ask:
    """The same message, but such that its run kills whatever carries it."""
    text = f'{ask.mark} [[tool=end_process {{"run":"{ask.run}"}}]]'
    return Ask(
        run=ask.run,
        kind=Kind.POISON,
        mark=ask.mark,
        text=text,
        at_s=ask.at_s,
        queued=ask.queued,
        answer=None,
    )


def _plain(_: random.Random, ask: Ask) -> Ask:
    text = f"tell me of {ask.mark}"
    return replace(ask, text=text, answer=wording.echo(text))


def _long(dice: random.Random, ask: Ask) -> Ask:
    deltas, pace = dice.randint(100, 250), dice.randint(20, 40)
    words = " ".join(f"word{number}" for number in range(1, deltas + 1))
    return replace(
        ask, text=f"{ask.mark} [[deltas={deltas}]] [[tokens_per_s={pace}]]", answer=words
    )


def _cancelled(dice: random.Random, ask: Ask) -> Ask:
    return replace(_long(dice, ask), cancel_after_s=round(dice.uniform(0.0, 3.0), 2))


def _parallel(_: random.Random, ask: Ask) -> Ask:
    texts = [f"{ask.mark}/{number}" for number in (1, 2)]
    calls = [f'[[tool=ledger {{"text":"{text}"}}]]' for text in texts]
    note = f'[[tool=save_note {{"text":"{ask.mark}"}}]]'
    return replace(ask, text=f"{ask.mark} {' '.join(calls)} {note}", ledger=2, notes=1)


def _ledger(dice: random.Random, ask: Ask) -> Ask:
    turns = dice.randint(3, 6)
    output = ToolOutput(name="ledger", output=f'{{"written":"{ask.mark}"}}')
    return replace(
        ask,
        text=f'{ask.mark} [[turns={turns} ledger {{"text":"{ask.mark}"}}]] [[delay=0.4]]',
        answer=wording.of_outputs((output,)),
        ledger=turns,
    )


def _notes(dice: random.Random, ask: Ask) -> Ask:
    turns = dice.randint(3, 6)
    text = f'{ask.mark} [[turns={turns} save_note {{"text":"{ask.mark}"}}]] [[delay=0.4]]'
    return replace(ask, text=text, notes=turns)


def _handoff(_: random.Random, ask: Ask) -> Ask:
    topic = f"the tides {ask.mark}"
    return replace(
        ask,
        text=f"research {topic} [[tokens_per_s=15]]",
        answer=wording.specialist(topic),
    )


def _nested(_: random.Random, ask: Ask) -> Ask:
    topics = [f"story {number} of {ask.mark} at length" for number in (1, 2)]
    calls = [f'[[tool=summarize {{"input": "{topic} [[tokens_per_s=4]]"}}]]' for topic in topics]
    outputs = tuple(ToolOutput(name="summarize", output=wording.summary(one)) for one in topics)
    return replace(
        ask,
        text=f"{ask.mark} {' '.join(calls)}",
        answer=wording.of_outputs(outputs),
        branches=2,
    )


_MAKERS = {
    Kind.PLAIN: _plain,
    Kind.LONG: _long,
    Kind.PARALLEL: _parallel,
    Kind.LEDGER: _ledger,
    Kind.NOTES: _notes,
    Kind.HANDOFF: _handoff,
    Kind.NESTED: _nested,
    Kind.CANCEL: _cancelled,
}
