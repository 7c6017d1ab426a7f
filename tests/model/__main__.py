"""`python -m tests.model`: searches larger than those of the tests, and stories to read."""

import argparse

from tests.model.bugs import PLANTED
from tests.model.scenes import ALL, WORLDS, World, worlds_with
from tests.model.search import Found, search, walk
from tests.model.spine import Spine


def main() -> int:
    """Do what the arguments ask; 1 when something is found that must not be."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--faults", type=int, help="search every choice of so many faults")
    parser.add_argument("--most", type=int, default=3_000_000, help="states of one search")
    parser.add_argument("--walks", type=int, help="walk so often, with all faults at once")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bugs", action="store_true", help="tell how each planted bug shows")
    asked = parser.parse_args()
    if asked.bugs:
        return _tell_bugs()
    if asked.walks:
        return _tell(ALL, walk(Spine(ALL.scene, ALL.faults), walks=asked.walks, seed=asked.seed))
    worlds = worlds_with(asked.faults) if asked.faults else WORLDS
    found = [
        _tell(world, search(Spine(world.scene, world.faults), most=asked.most)) for world in worlds
    ]
    return max(found)


def _tell(world: World, found: Found) -> int:
    print(f"{world.name}: {found}", flush=True)
    return 1 if found.violation else 0


def _tell_bugs() -> int:
    unseen = 0
    for bug in PLANTED:
        found = search(bug.spine(bug.scene, bug.faults))
        unseen += not found.violation
        print(f"{bug.spine.__name__}: {bug.spine.__doc__}\n{found}\n", flush=True)
    return min(unseen, 1)


if __name__ == "__main__":
    raise SystemExit(main())
