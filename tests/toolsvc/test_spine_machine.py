"""Any order of claims, commits and appends on real stores, against the model of the spine."""

import asyncio
import inspect
import textwrap
from collections.abc import Iterator
from hashlib import sha1
from types import ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from shared.bus import append
from shared.errors import BatonError
from tests.toolsvc.record_rig import opened
from tests.toolsvc.spine_machine import SpineMachine
from tests.toolsvc.spine_world import World
from toolsvc.runs import claim, close, commit

pytestmark = [pytest.mark.stores, pytest.mark.slow, pytest.mark.timeout(300)]

#: The same examples each time. Shrinking one would take minutes, and stories of 30 steps can be
#: read.
SETTINGS = settings(
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=25,
    stateful_step_count=30,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def machine(
    database_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type[SpineMachine]]:
    """The machine in a world of its own."""
    monkeypatch.setattr(close, "GRACE_S", 0.0)
    with asyncio.Runner() as runner:
        context = opened(database_url, redis_url)
        rig = runner.run(context.__aenter__())
        try:
            yield type("Machine", (SpineMachine,), {"world": World(runner, rig)})
        finally:
            runner.run(context.__aexit__(None, None, None))


def test_the_stores_hold_what_the_model_says(machine: type[SpineMachine]) -> None:
    run_state_machine_as_test(machine, settings=SETTINGS)


class Mutation(NamedTuple):
    """A rule of the code, and the same one broken."""

    module: ModuleType
    name: str
    rule: str
    broken: str


MUTATIONS = {
    "commits do not compare fences": Mutation(
        commit, "apply_commit", "row.run_fence != commit.fence", "False"
    ),
    "a repeat is not compared with what was stored": Mutation(
        commit, "_repeat", "row.commit_digest != digest", "False"
    ),
    "start rows of take-overs stay out of the chain": Mutation(
        commit, "_store", "await _unhashed_starts(db, row) if settling else []", "[]"
    ),
    "a take-over settles its fence before the tail is stored": Mutation(
        claim, "_parameters", "start.fence if first else row.settled", "start.fence"
    ),
    "the script does not compare fences": Mutation(
        append, "_SCRIPT", "if last_fence > fence then", "if false then"
    ),
    "the script takes what comes after a gap": Mutation(
        append, "_SCRIPT", "(seq > have + 1 and mode ~= 'force')", "false"
    ),
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=list(MUTATIONS))
def test_the_machine_sees_that(
    machine: type[SpineMachine], mutation: Mutation, monkeypatch: pytest.MonkeyPatch
) -> None:
    _plant(mutation, monkeypatch)
    # A broken rule may also show as a close that its own commit refuses.
    with pytest.raises((AssertionError, BatonError)):
        run_state_machine_as_test(machine, settings=SETTINGS)


def _plant(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    module, name, rule, broken = mutation
    found: Any = getattr(module, name)
    source = found if isinstance(found, str) else textwrap.dedent(inspect.getsource(found))
    assert source.count(rule) == 1, "the rule has moved"
    mutated = source.replace(rule, broken)
    if isinstance(found, str):
        monkeypatch.setattr(module, name, mutated)
        monkeypatch.setattr(module, "_SHA", sha1(mutated.encode()).hexdigest())
        return
    made: dict[str, Any] = {}
    exec(compile(mutated, module.__file__ or name, "exec"), vars(module), made)
    monkeypatch.setattr(module, name, made[name])
