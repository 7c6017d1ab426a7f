"""The journal hands recorded steps out in the order of their commits, and holds live ones back."""

import asyncio

import pytest

from runner import journal as module
from runner.journal import Journal, Key
from shared.protocol.record import StepRecord

pytestmark = pytest.mark.asyncio


def key(place: str) -> Key:
    return Key("run:A:0#0", "tool", place)


def journal(*places: str) -> Journal:
    return Journal(
        [
            StepRecord(scope=key(p).scope, kind="tool", place=p, digest=p, record="{}")
            for p in places
        ]
    )


class Asker:
    """Asks for steps at the same time, and notes the order in which they are given."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.given: list[str] = []

    async def ask(self, place: str, *, after: "asyncio.Event | None" = None) -> bool:
        if after:
            await after.wait()
        found = await self.journal.take(key(place))
        self.given.append(place)
        return found is not None


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody gives up waiting here: what comes, comes by the order alone."""
    monkeypatch.setattr(module, "QUIET_S", 60.0)


@pytest.mark.usefixtures("_patient")
async def test_siblings_get_their_records_in_the_order_of_the_commits() -> None:
    asker = Asker(journal("c", "a", "b"))
    assert asker.journal.replaying
    found = await asyncio.gather(*(asker.ask(place) for place in ("a", "b", "c")))
    assert found == [True, True, True]
    assert asker.given == ["c", "a", "b"]
    assert not asker.journal.replaying


@pytest.mark.usefixtures("_patient")
async def test_a_live_step_waits_for_all_that_is_recorded() -> None:
    asker = Asker(journal("a", "b"))
    late = asyncio.Event()
    live = asyncio.create_task(asker.ask("live"))
    recorded = [asyncio.create_task(asker.ask("b", after=late))]
    recorded.append(asyncio.create_task(asker.ask("a")))
    await recorded[1]
    assert not live.done()
    late.set()
    assert await live is False
    await asyncio.gather(*recorded)
    assert asker.given == ["a", "b", "live"]


async def test_a_first_run_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 60.0)
    async with asyncio.timeout(30):
        assert await journal().take(key("x")) is None


async def test_when_nothing_moves_the_live_step_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    asker = Asker(journal("never asked for"))
    assert await asker.ask("live") is False
    assert asker.journal.replaying


async def test_when_nothing_moves_a_later_record_is_given_before_an_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The code asks for the second one first, and for the first one only with its result."""
    monkeypatch.setattr(module, "QUIET_S", 0.01)
    asker = Asker(journal("first", "second"))
    assert await asker.ask("second")
    assert await asker.ask("first")
    assert not asker.journal.replaying


async def test_every_step_that_is_given_begins_the_wait_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.2)
    asker = Asker(journal(*"abcdefgh", "missing"))
    loop = asyncio.get_running_loop()
    moved: list[float] = []

    async def replay() -> None:
        for place in "abcdefgh":
            await asyncio.sleep(0.05)  # a helper's own work between its steps
            await asker.ask(place)
            moved.append(loop.time())

    replaying = asyncio.create_task(replay())
    await asker.ask("live")
    assert asker.given[-1] == "live"
    assert loop.time() - moved[-1] >= 0.2
    await replaying


async def test_a_cancelled_asker_leaves_its_record_to_whoever_asks_again() -> None:
    asker = Asker(journal("a", "b"))
    waiting = asyncio.create_task(asker.ask("b"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asker.ask("a")
    assert await asker.ask("b")
    assert not asker.journal.replaying
