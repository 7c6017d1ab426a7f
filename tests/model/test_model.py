"""The model: nothing goes wrong in any small world, each planted bug is seen, the code is there."""

import inspect

import pytest

from tests.model.bugs import PLANTED, Planted
from tests.model.code import CODE, WORLD, named
from tests.model.scenes import ALL, WORLDS, World
from tests.model.search import search, walk
from tests.model.spine import Spine


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS, ids=lambda world: world.name)
def test_nothing_goes_wrong_in(world: World) -> None:
    found = search(Spine(world.scene, world.faults))
    assert not found.violation, f"\n{found}"
    assert found.complete
    assert found.ends


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED, ids=lambda bug: bug.spine.__name__)
def test_the_search_sees(bug: Planted) -> None:
    """The same world without the bug has nothing wrong, so that it is the bug that is seen."""
    found = search(bug.spine(bug.scene, bug.faults))
    assert found.violation
    print(f"\n{bug.spine.__doc__}\n{found}")
    sound = search(Spine(bug.scene, bug.faults), most=min(found.states, 5000))
    assert not sound.violation, f"\n{sound}"


@pytest.mark.slow
def test_walks_with_all_faults_at_once_find_nothing_and_make_use_of_every_action() -> None:
    found = walk(Spine(ALL.scene, ALL.faults), walks=150, seed=1)
    assert not found.violation, f"\n{found}"
    assert found.actions == set(CODE) | WORLD


def test_walks_see_what_a_search_sees() -> None:
    unfenced = PLANTED[0].spine
    assert walk(unfenced(ALL.scene, ALL.faults), walks=150, seed=1).violation


def test_a_story_can_be_read() -> None:
    bug = PLANTED[0]
    assert str(search(bug.spine(bug.scene, bug.faults))).splitlines()[1:] == [
        "  1   a runner as 1: claim run 1",
        "  2 ⚡ runner 1: freeze",
        "  3   a runner as 2: claim run 1",
        "  4   runner 2: start [1-1 start 1, 2-1 resumed 1]",
        "  5   runner 1: start [1-1 start 1]",
    ]


@pytest.mark.parametrize("action", CODE)
def test_the_code_has(action: str) -> None:
    for place in CODE[action]:
        assert inspect.isroutine(named(place)), place
