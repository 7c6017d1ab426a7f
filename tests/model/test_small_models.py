"""The ledger of effects and the rule of poisoned runs, searched with many faults."""

import pytest

from tests.model import ledger
from tests.model.ledger import AnyFence, Ledger, NeverOpen, NoRow, UnknownAgain
from tests.model.poison import (
    BlamesChildren,
    BlamesCompany,
    Kills,
    NeverAlone,
    Poison,
    TriesForEver,
)
from tests.model.search import search

MANY = ledger.Faults(lost=3, died=2, slept=2)


def test_an_effect_happens_at_most_once_whoever_dies() -> None:
    found = search(Ledger(MANY))
    assert not found.violation, f"\n{found}"
    assert found.complete


def test_a_tool_that_may_be_repeated_always_comes_to_an_outcome() -> None:
    found = search(Ledger(ledger.Faults(lost=2, died=2, slept=1), idempotent=True))
    assert not found.violation, f"\n{found}"


@pytest.mark.parametrize("bug", [NoRow, UnknownAgain, AnyFence, NeverOpen])
def test_the_search_sees_a_ledger_that_is(bug: type[Ledger]) -> None:
    assert search(bug(MANY)).violation


@pytest.mark.parametrize("kills", [Kills(True, False), Kills(False, True), Kills(True, True)])
def test_only_a_run_that_kills_is_called_poisoned(kills: Kills) -> None:
    found = search(Poison(crashes=4, kills=kills))
    assert not found.violation, f"\n{found}"
    assert found.complete


@pytest.mark.parametrize("bug", [BlamesCompany, BlamesChildren, NeverAlone, TriesForEver])
def test_the_search_sees_a_rule_that(bug: type[Poison]) -> None:
    assert search(bug(crashes=4, kills=Kills(carrier=True, starting=True))).violation
