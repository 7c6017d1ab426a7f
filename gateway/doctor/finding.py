"""What the doctor knows: every defect it can find, what it means, and what would be done."""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from shared.protocol.position import Position


class Defect(StrEnum):
    """A kind of finding."""

    GROUP_MISSING = "group_missing"
    ENTRY_RUBBISH = "entry_rubbish"
    RUN_NOT_RUNG = "run_not_rung"
    RUN_ABANDONED = "run_abandoned"
    NO_RUNNER = "no_runner"
    THREAD_STUCK = "thread_stuck"
    THREAD_CROWDED = "thread_crowded"
    CANCEL_STUCK = "cancel_stuck"
    END_MISSING = "end_missing"
    RECEIPT_MISSING = "receipt_missing"
    EVENTS_MISSING = "events_missing"
    EVENTS_ALTERED = "events_altered"
    STREAM_AHEAD = "stream_ahead"
    EFFECT_UNKNOWN = "effect_unknown"


class About(NamedTuple):
    """What a defect means, and its cure: by `--fix`, or else by a person."""

    means: str
    cure: str
    fixable: bool = True


ABOUT: dict[Defect, About] = {
    Defect.GROUP_MISSING: About(
        "The stream `runs` or its consumer group is not there, so no runner is woken.",
        "Make it.",
    ),
    Defect.ENTRY_RUBBISH: About(
        "An entry of the stream `runs` speaks of no run that there is.", "Delete the entry."
    ),
    Defect.RUN_NOT_RUNG: About(
        "A run waits, a living runner serves its agent, and no entry wakes it; toolsvc should have "
        "rung within a second or two.",
        "Ring for it. Then look at toolsvc's log and its /readyz.",
    ),
    Defect.RUN_ABANDONED: About(
        "A run counts as carried, but the lease of its runner has ended long ago, and nobody has "
        "taken it over.",
        "Set it free and ring for it. Then look at toolsvc's log and its /readyz.",
    ),
    Defect.NO_RUNNER: About(
        "Runs wait for an agent that no living runner serves.",
        "Start a runner that serves it, see `baton status` for agents that do not load, or cancel "
        "the runs.",
        fixable=False,
    ),
    Defect.THREAD_STUCK: About(
        "Runs of the thread wait behind each other, and none of them is next.",
        "Make the first of them the next one, and ring for it.",
    ),
    Defect.THREAD_CROWDED: About(
        "Several runs of the thread are under way or next; there may be one.",
        "Let all but the first wait.",
    ),
    Defect.CANCEL_STUCK: About(
        "Somebody has cancelled a run, and it still goes on.", "Ask toolsvc once more to end it."
    ),
    Defect.END_MISSING: About(
        "A run has ended without the event that says so; clients may still wait for it.",
        "Its events cannot be made up: restore Postgres from a backup if they matter. Clients "
        "that connect anew see that the run is over.",
        fixable=False,
    ),
    Defect.RECEIPT_MISSING: About(
        "A run has ended without a receipt, although earlier ones have theirs.",
        "A receipt is made at the end of a run or never. Give every toolsvc its "
        "BATON_RECEIPT_KEY, so that further runs get theirs.",
        fixable=False,
    ),
    Defect.EVENTS_MISSING: About(
        "Events of a thread are not in Postgres, although later ones are.",
        "They cannot be made up: restore Postgres from a backup if they matter. Find out who "
        "deletes rows.",
        fixable=False,
    ),
    Defect.EVENTS_ALTERED: About(
        "Events of a thread do not fit their chain: rows were changed, or all of some run deleted.",
        "Restore Postgres from a backup if they matter. Find out who changes rows.",
        fixable=False,
    ),
    Defect.STREAM_AHEAD: About(
        "A thread's stream has what Postgres does not know, as after a restored backup or a commit "
        "that was lost; new runs of the thread may not be able to write.",
        "Delete the stream: Postgres has what counts, and clients get it from there.",
    ),
    Defect.EFFECT_UNKNOWN: About(
        "Nobody knows whether a tool took effect: its executor is gone.",
        "Find out, and settle it: `baton effects --unknown`, `baton effects settle`.",
        fixable=False,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One defect of one thing. `subject` is what people call it, the rest is for the cure."""

    defect: Defect
    subject: str
    detail: str = ""
    run: UUID | None = None
    thread: UUID | None = None
    entry: bytes | None = None
    at: Position | None = None

    @property
    def same(self) -> tuple[object, ...]:
        """What makes two findings the same one."""
        return (self.defect, self.subject, self.run, self.thread, self.entry, self.at)

    @property
    def about(self) -> About:
        """What it means, and its cure."""
        return ABOUT[self.defect]
