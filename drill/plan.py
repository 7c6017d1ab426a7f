"""The plan of a drill: who says what and when, and what breaks when. All of it from the seed."""

import random
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from drill.talk import Ask, Kind, make_ask, poisonous

RUNNERS, GATEWAYS, TOOLSVC = 3, 2, 2

#: Nothing breaks before the first answers are under way.
FIRST_FAULT_S = 3.0
#: The last part of the time has no new messages and no faults, so that ends are seen in peace.
CALM = 0.06
RUNS_A_CONVERSATION = 12
FEWEST_CONVERSATIONS = 5
#: One in so many messages is sent on top of the one before.
QUEUED_ONE_IN = 4

#: Runs that kill whatever carries them: each ends two runners, and then two processes of its own.
POISON_A_MINUTE = 0.6
#: Where a drill is too small, one of them would be half of it.
RUNS_FOR_POISON = 10
#: They take half a minute to end, so they are sent in this first part of the time.
POISON_WITHIN = 0.4

LEASE_S = 4.0
STOPPED_S = 3 * LEASE_S + 1

#: For how long a store is out of order, at least and at most.
STORE_LASTS_S = (1.0, 4.0)
FROZEN_S = LEASE_S + 1


class FaultKind(StrEnum):
    """What breaks."""

    KILL_RUNNER = "kill runner"  #: kill -9
    KILL_GATEWAY = "kill gateway"
    KILL_TOOLSVC = "kill toolsvc"
    KILL_VALKEY = "kill valkey"
    KILL_POSTGRES = "kill postgres"
    DEPLOY_RUNNER = "deploy runner"  #: SIGTERM, and a new process
    DEPLOY_GATEWAY = "deploy gateway"
    DEPLOY_TOOLSVC = "deploy toolsvc"
    STOP_RUNNER = "stop runner"  #: SIGSTOP for three leases, then SIGCONT
    FLUSH = "flushall"  #: Redis forgets everything
    CLIENTS = "client kill"  #: Redis ends all connections
    CUT = "client kill each second"  #: the same for some seconds
    PAUSE = "client pause"  #: Redis takes commands and does not carry them out
    SLEEP = "debug sleep"  #: Redis does nothing at all
    HOLE = "black hole"  #: SIGSTOP of Redis: its kernel takes connections, nobody answers
    FULL = "maxmemory"  #: Redis refuses to write
    GROUP = "xgroup destroy"  #: the readers of the doorbell are forgotten
    BACKENDS = "terminate backends"  #: Postgres ends all connections
    GREEDY = "no connections left"  #: others have all that Postgres can give
    FREEZE = "freeze postgres"  #: SIGSTOP of Postgres for longer than a lease
    POISON = "poisonous run"  #: what a run does, not the plan: it ends the process that carries it
    DROP = "network drop"  #: connections between clients and gateways are reset
    STALL = "network stall"  #: nothing passes for some seconds


KILLS = frozenset(kind for kind in FaultKind if kind.startswith("kill"))
STORES = frozenset({FaultKind.KILL_VALKEY, FaultKind.KILL_POSTGRES})
NETWORK = frozenset({FaultKind.DROP, FaultKind.STALL})

_LASTING = frozenset(
    {
        *(FaultKind.CUT, FaultKind.PAUSE, FaultKind.SLEEP, FaultKind.HOLE, FaultKind.FULL),
        FaultKind.GREEDY,
    }
)

#: How many of each in a minute; 14 of them are kills.
A_MINUTE = {
    FaultKind.KILL_RUNNER: 6.4,
    FaultKind.KILL_GATEWAY: 2.6,
    FaultKind.KILL_TOOLSVC: 3.0,
    FaultKind.KILL_VALKEY: 1.2,
    FaultKind.KILL_POSTGRES: 0.8,
    FaultKind.DEPLOY_RUNNER: 1.0,
    FaultKind.DEPLOY_GATEWAY: 0.8,
    FaultKind.DEPLOY_TOOLSVC: 0.8,
    FaultKind.STOP_RUNNER: 0.6,
    FaultKind.FLUSH: 0.8,
    FaultKind.CLIENTS: 0.8,
    FaultKind.CUT: 0.4,
    FaultKind.PAUSE: 0.4,
    FaultKind.SLEEP: 0.4,
    FaultKind.HOLE: 0.4,
    FaultKind.FULL: 0.4,
    FaultKind.GROUP: 0.4,
    FaultKind.BACKENDS: 0.8,
    FaultKind.GREEDY: 0.4,
    FaultKind.FREEZE: 0.4,
    FaultKind.DROP: 2.0,
    FaultKind.STALL: 1.4,
}

_TARGETS = {
    FaultKind.KILL_RUNNER: ("runner", RUNNERS),
    FaultKind.DEPLOY_RUNNER: ("runner", RUNNERS),
    FaultKind.STOP_RUNNER: ("runner", RUNNERS),
    FaultKind.KILL_GATEWAY: ("gateway", GATEWAYS),
    FaultKind.DEPLOY_GATEWAY: ("gateway", GATEWAYS),
    FaultKind.KILL_TOOLSVC: ("toolsvc", TOOLSVC),
    FaultKind.DEPLOY_TOOLSVC: ("toolsvc", TOOLSVC),
    FaultKind.KILL_VALKEY: ("valkey", 0),
    FaultKind.KILL_POSTGRES: ("postgres", 0),
    FaultKind.FLUSH: ("valkey", 0),
    FaultKind.CLIENTS: ("valkey", 0),
    FaultKind.CUT: ("valkey", 0),
    FaultKind.PAUSE: ("valkey", 0),
    FaultKind.SLEEP: ("valkey", 0),
    FaultKind.HOLE: ("valkey", 0),
    FaultKind.FULL: ("valkey", 0),
    FaultKind.GROUP: ("valkey", 0),
    FaultKind.BACKENDS: ("postgres", 0),
    FaultKind.GREEDY: ("postgres", 0),
    FaultKind.FREEZE: ("postgres", 0),
}
#: A process that was hit is left alone for so long, else faults would only meet closed doors.
RECOVERY_S = {"runner": 5.0, "gateway": 5.0, "toolsvc": 5.0, "valkey": 2.0, "postgres": 4.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing that breaks."""

    at_s: float
    kind: FaultKind
    target: str  #: a process; empty for the network
    clients: tuple[int, ...] = ()  #: whose connections, for the network
    lasts_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillPlan:
    """Everything that is decided beforehand."""

    seed: int
    seconds: float
    conversations: tuple[tuple[Ask, ...], ...]
    faults: tuple[Fault, ...]

    @property
    def runs(self) -> int:
        """How many runs are asked for."""
        return sum(len(asks) for asks in self.conversations)


def make_plan(
    *, seed: int, minutes: float, runs: int, kinds: Collection[Kind] = tuple(Kind)
) -> DrillPlan:
    """The plan of a seed: the same arguments, the same plan."""
    seconds = minutes * 60
    talk, breakage = random.Random(f"talk {seed}"), random.Random(f"faults {seed}")  # noqa: S311
    count = max(min(runs, FEWEST_CONVERSATIONS), runs // RUNS_A_CONVERSATION)
    conversations = [
        list(_conversation(talk, client, runs // count + (client < runs % count), seconds, kinds))
        for client in range(count)
    ]
    if Kind.POISON in kinds and runs >= RUNS_FOR_POISON:
        dice = random.Random(f"poison {seed}")  # noqa: S311
        _poison(dice, conversations, max(1, round(minutes * POISON_A_MINUTE)), seconds)
    return DrillPlan(
        seed=seed,
        seconds=seconds,
        conversations=tuple(tuple(asks) for asks in conversations),
        faults=tuple(_faults(breakage, minutes, count)),
    )


def _conversation(
    dice: random.Random, client: int, runs: int, seconds: float, kinds: Collection[Kind]
) -> Iterator[Ask]:
    room = seconds * (1 - CALM) / max(1, runs)
    at_s = 0.0
    for number in range(runs):
        queued = number > 0 and dice.randrange(QUEUED_ONE_IN) == 0
        at_s = at_s if queued else round(room * (number + dice.random()), 2)
        mark = f"c{client}x{number}x"
        yield make_ask(dice, kinds, mark=mark, run=f"run_{mark}", at_s=at_s, queued=queued)


def _poison(
    dice: random.Random, conversations: Sequence[list[Ask]], count: int, seconds: float
) -> None:
    """Make some messages poisonous, one in each of `count` parts of the time where there is one.

    Spread out: a program that dies five times within a minute is given up.
    """
    part_s = seconds * POISON_WITHIN / count
    for part in range(count):
        places = [
            (asks, number)
            for asks in conversations
            for number, ask in enumerate(asks)
            if part * part_s <= ask.at_s < (part + 1) * part_s
        ]
        if places:
            asks, number = dice.choice(places)
            asks[number] = poisonous(asks[number])


def _faults(dice: random.Random, minutes: float, clients: int) -> list[Fault]:
    kinds = [
        kind for kind, often in A_MINUTE.items() for _ in range(max(1, round(often * minutes)))
    ]
    dice.shuffle(kinds)
    last_s = minutes * 60 * (1 - CALM)
    room = max(0.0, last_s - FIRST_FAULT_S) / len(kinds)
    free_at: dict[str, float] = {}
    found = []
    for number, kind in enumerate(kinds):
        at_s = FIRST_FAULT_S + room * (number + dice.random())
        found.append(_fault(dice, kind, at_s, clients, free_at))
    return sorted(found, key=lambda fault: fault.at_s)


def _fault(
    dice: random.Random, kind: FaultKind, at_s: float, clients: int, free_at: dict[str, float]
) -> Fault:
    """A fault at `at_s`, or as soon after it as one of its targets is to be hit again."""
    if kind in NETWORK:
        hit = tuple(sorted(dice.sample(range(clients), max(1, clients // 2))))
        lasts_s = round(dice.uniform(1, 5), 2) if kind is FaultKind.STALL else 0.0
        return Fault(at_s=round(at_s, 2), kind=kind, target="", clients=hit, lasts_s=lasts_s)
    name, many = _TARGETS[kind]
    names = [f"{name}-{number}" for number in range(1, many + 1)] or [name]
    dice.shuffle(names)
    target = min(names, key=lambda one: max(at_s, free_at.get(one, 0.0)))
    at_s = max(at_s, free_at.get(target, 0.0))
    lasts_s = _lasts_s(dice, kind)
    free_at[target] = at_s + lasts_s + RECOVERY_S[name]
    return Fault(at_s=round(at_s, 2), kind=kind, target=target, lasts_s=lasts_s)


def _lasts_s(dice: random.Random, kind: FaultKind) -> float:
    if kind in _LASTING:
        return round(dice.uniform(*STORE_LASTS_S), 2)
    return {FaultKind.STOP_RUNNER: STOPPED_S, FaultKind.FREEZE: FROZEN_S}.get(kind, 0.0)
