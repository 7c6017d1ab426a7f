"""How much a runner begins at once."""

import asyncio

import pytest

from runner import intake
from runner.intake import PLACES, Intake

pytestmark = pytest.mark.asyncio


async def test_whoever_begins_enough_leaves_the_rest_to_others() -> None:
    places = Intake()
    taken = [places.take() for _ in range(PLACES)]
    listening = asyncio.create_task(places.until_free())
    await asyncio.sleep(0)
    assert not listening.done()
    taken[0].leave()
    taken[0].leave()
    await listening
    assert places.free == 1


async def test_a_run_goes_on_when_all_others_have_begun() -> None:
    places = Intake()
    first, second = places.take(), places.take()
    going_on = asyncio.create_task(first.after_the_others())
    await asyncio.sleep(0)
    assert places.free == PLACES - 1  # somebody else can begin already
    assert not going_on.done()
    second.leave()
    await going_on


async def test_a_run_does_not_wait_long_for_another_that_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "MANNERS_S", 0.01)
    places = Intake()
    first, _ = places.take(), places.take()
    await first.after_the_others()
    assert places.free == PLACES - 1
