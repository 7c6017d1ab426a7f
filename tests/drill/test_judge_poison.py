"""The judge knows which runs have to end as poisoned, and that no other may."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from drill.plan import FaultKind
from drill.poison import HOW, STATUS, Killed, read_killed
from drill.records import Victim
from drill.scratch import SCENE
from drill.talk import poisonous
from drill.verdict import Wrong
from tests.drill.scene import ONE, TWO, Scene, ask, call, hit, seen

ERROR = {"type": "RUN_ERROR", "message": "…", "code": "poisoned"}


def killed(pid: int, *, alone: bool) -> Killed:
    return Killed(run=TWO, pid=pid, alone=alone, at=float(pid))


def poisoned() -> Scene:
    """The second run has ended two runners, and two processes of its own; then it was closed."""
    scene = Scene()
    scene.asks[TWO] = poisonous(ask(TWO))
    scene.ends(TWO, "failed", "poisoned")
    scene.runs[TWO] = replace(scene.runs[TWO], answer=None, last_death=HOW)
    scene.stored[6:] = [("3-2", 2, TWO, ERROR)]
    scene.frames[8:] = [seen("3-2", ERROR)]
    scene.calls[3:] = [call(TWO, 7)]
    scene.ledger = [one for one in scene.ledger if one.run == ONE]
    del scene.notes["c0x1x"]
    scene.killed = [killed(pid, alone=pid > 2) for pid in (1, 2, 3, 4)]
    return scene


def test_a_poisonous_run_ends_as_poisoned() -> None:
    assert poisoned().found() == set()


def test_a_runner_that_was_stopped_and_woken_may_be_ended_besides() -> None:
    scene = poisoned()
    scene.killed.insert(2, killed(9, alone=False))
    assert scene.found() == {Wrong.POISON}
    stopped = hit(FaultKind.STOP_RUNNER, at=3.0)
    stopped.pid = 9
    scene.hits = [stopped]
    assert scene.found() == set()


def test_one_that_has_not_ended_is_lost() -> None:
    scene = poisoned()
    scene.ends(TWO, "running")
    scene.stored.pop()
    scene.frames.pop()
    del scene.ended[TWO]
    assert scene.found() == {Wrong.LOST}


def finished(scene: Scene) -> None:
    scene.ends(TWO, "finished")


def of_another_cause(scene: Scene) -> None:
    scene.ends(TWO, "failed", "internal")


def without_a_reason(scene: Scene) -> None:
    scene.runs[TWO] = replace(scene.runs[TWO], last_death=None)


def a_third_runner(scene: Scene) -> None:
    scene.killed.insert(0, killed(9, alone=False))


def a_third_process_of_its_own(scene: Scene) -> None:
    scene.killed.append(killed(9, alone=True))


def never_alone(scene: Scene) -> None:
    del scene.killed[2:]


@pytest.mark.parametrize(
    "spoil",
    [
        *(finished, of_another_cause, without_a_reason),
        *(a_third_runner, a_third_process_of_its_own, never_alone),
    ],
)
def test_one_that_does_not_end_so_or_ends_too_much_is_found(
    spoil: Callable[[Scene], None],
) -> None:
    scene = poisoned()
    spoil(scene)
    assert scene.found() == {Wrong.POISON}


def test_one_that_ends_twice_is_found() -> None:
    scene = poisoned()
    scene.stored.append(("3-3", 3, TWO, ERROR))
    scene.frames.append(seen("3-3", ERROR))
    assert scene.found() == {Wrong.TERMINALS}


def test_a_neighbour_that_ends_as_poisoned_is_found_however_often_its_runners_died() -> None:
    scene = Scene()
    scene.ends(TWO, "failed", "poisoned")
    scene.hits = [hit(FaultKind.KILL_RUNNER, at=float(at)) for at in (3, 4, 5, 6)]
    for one in scene.hits:
        one.victims = (Victim(run=TWO, fence=2),)
    assert scene.found() == {Wrong.FAILED}


def test_what_the_tool_writes_is_read(tmp_path: Path) -> None:
    file = tmp_path / "killed"
    assert read_killed(file) == []
    file.write_text('{"run": "run_c0x1x", "pid": 3, "alone": true, "at": 3.0}\n')
    assert read_killed(file) == [killed(3, alone=True)]


def test_the_tool_ends_its_process_with_the_status_that_is_looked_for() -> None:
    agent = (SCENE / "agents" / "Drill" / "agent.py").read_text()
    assert f"os._exit({STATUS})" in agent
