"""Durations as clients saw them."""

from drill.measures import Times, measure
from drill.network import Network
from drill.plan import FaultKind
from drill.records import Hit, Request, Victim
from tests.drill.scene import RESUMED, STORED, THREAD, TWO, Scene, seen, thread


def killed(at: float, fence: int) -> Hit:
    victim = Victim(run=TWO, fence=fence)
    return Hit(at=at, kind=FaultKind.KILL_RUNNER, target="runner-1", victims=(victim,))


def resumed_at(at: float) -> Scene:
    scene = Scene()
    scene.frames[7] = seen("3-1", RESUMED, at=at)
    return scene


def test_a_take_over_lasts_until_the_first_event_of_the_next_claim() -> None:
    hits = [killed(3.0, fence=2)]
    found = measure([resumed_at(7.5).watched()], {THREAD: thread(STORED)}, hits, Network(1))
    assert found.take_overs.values == (4.5,)
    assert found.undisturbed.values == (4.5,)


def test_other_faults_in_between_are_told_apart() -> None:
    hits = [killed(3.0, fence=2), Hit(at=4.0, kind=FaultKind.KILL_VALKEY, target="valkey")]
    found = measure([resumed_at(7.5).watched()], {THREAD: thread(STORED)}, hits, Network(1))
    assert found.take_overs.values == (4.5,)
    assert found.undisturbed.values == ()


def test_a_run_that_had_ended_was_not_taken_over() -> None:
    hits = [killed(3.0, fence=3)]
    found = measure([resumed_at(7.5).watched()], {THREAD: thread(STORED)}, hits, Network(1))
    assert found.take_overs.values == ()


def test_the_longest_request_is_not_one_that_our_own_network_held_up() -> None:
    held_up = Request(op="run", run=TWO, asked_at=10.0, over_at=15.0, code="ok")
    slow = Request(op="ping", run=None, asked_at=20.0, over_at=21.0, code="ok")
    opening = Request(op="open", run=None, asked_at=30.0, over_at=39.0)
    net = Network(1)
    net.links[0].troubles.append((9.0, 11.0))
    scene = Scene(requests=[held_up, slow, opening])
    assert measure([scene.watched()], {}, [], net).longest_request is slow


def test_a_store_is_back_when_a_run_was_accepted_and_an_event_shown() -> None:
    before = Request(op="run", run=TWO, asked_at=1.0, over_at=1.1, code="ok")
    refused = Request(op="run", run=TWO, asked_at=3.5, over_at=3.6, code="unavailable")
    accepted = Request(op="run", run=TWO, asked_at=4.0, over_at=4.25, code="ok")
    scene = Scene(requests=[before, refused, accepted])
    scene.frames = [seen("1-1", RESUMED, at=5.0)]
    hits = [Hit(at=3.0, kind=FaultKind.KILL_VALKEY, target="valkey")]
    assert measure([scene.watched()], {}, hits, Network(1)).recoveries.values == (2.0,)


def test_shares_of_durations() -> None:
    times = Times(values=tuple(float(value) for value in range(100, 0, -1)))
    assert (times.at(0.5), times.at(0.95), times.longest) == (51.0, 96.0, 100.0)
    assert Times(values=()).at(0.5) is None
