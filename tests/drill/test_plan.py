"""The plan comes from the seed alone, and stays within what the stack can bear."""

from collections import defaultdict
from itertools import pairwise

import pytest

from drill.plan import CALM, KILLS, POISON_WITHIN, RECOVERY_S, Fault, FaultKind, make_plan
from drill.talk import MARK, Kind
from stack.demo_model import directives

PLAN = make_plan(seed=1, minutes=5, runs=300)


def test_the_same_seed_makes_the_same_plan() -> None:
    assert make_plan(seed=1, minutes=5, runs=300) == PLAN
    assert make_plan(seed=2, minutes=5, runs=300) != PLAN


def test_it_has_so_many_runs_and_at_least_sixty_kills() -> None:
    assert PLAN.runs == 300
    assert sum(fault.kind in KILLS for fault in PLAN.faults) >= 60


@pytest.mark.parametrize(("minutes", "runs"), [(0.1, 1), (0.5, 30), (5, 301)])
def test_all_runs_and_kinds_of_faults_are_in_it(minutes: float, runs: int) -> None:
    plan = make_plan(seed=3, minutes=minutes, runs=runs)
    assert plan.runs == runs
    assert {fault.kind for fault in plan.faults} == set(FaultKind) - {FaultKind.POISON}


def test_all_kinds_of_runs_are_in_it() -> None:
    assert {ask.kind for asks in PLAN.conversations for ask in asks} == set(Kind)


@pytest.mark.parametrize(("minutes", "runs", "some"), [(0.1, 9, 0), (0.5, 30, 1), (5, 300, 3)])
def test_a_few_runs_are_poisonous_and_not_many_at_once(
    minutes: float, runs: int, some: int
) -> None:
    plan = make_plan(seed=3, minutes=minutes, runs=runs)
    asks = [ask for asks in plan.conversations for ask in asks if ask.kind is Kind.POISON]
    assert len(asks) == some
    part_s = plan.seconds * POISON_WITHIN / max(1, some)
    assert {int(ask.at_s / part_s) for ask in asks} == set(range(some))


def test_every_run_has_a_mark_of_its_own() -> None:
    asks = [ask for asks in PLAN.conversations for ask in asks]
    assert len({ask.mark for ask in asks}) == len(asks)
    assert all(set(MARK.findall(ask.text)) == {ask.mark} for ask in asks)


def test_a_process_that_was_hit_is_left_alone_for_a_while() -> None:
    by_target = defaultdict[str, list[Fault]](list)
    for fault in PLAN.faults:
        by_target[fault.target].append(fault)
    del by_target[""]  # the network
    for target, faults in by_target.items():
        for one, other in pairwise(faults):
            rest = RECOVERY_S[target.partition("-")[0]]
            assert other.at_s - one.at_s - one.lasts_s >= rest - 0.01, target


def test_the_end_is_calm() -> None:
    asks = [ask.at_s for asks in PLAN.conversations for ask in asks]
    assert max(asks) <= PLAN.seconds * (1 - CALM)


def test_the_demo_model_understands_every_text() -> None:
    for asks in PLAN.conversations:
        for ask in asks:
            directives.read(ask.text)
