"""Which calls of a runner may begin at a model server, and which wait or give up."""

import asyncio
from typing import Any

import pytest

from runner.models.gate import DEAF_S, Closed, Gate, Gates
from runner.models.retry import Fault, Kind
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.providers import ProviderNews, State
from shared.settings.models import ModelsConfig, Provider
from tests.until import until

pytestmark = pytest.mark.asyncio

DOWN = Fault(kind=Kind.DOWN, again=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Calls:
    """Calls at one gate: who waits, who goes on, and what they were told."""

    def __init__(self, **policy: Any) -> None:
        self.clock = Clock()
        self.gate = Gate("p", Provider(**policy), clock=self.clock)
        self.begun: list[str] = []
        self.told: list[Closed | None] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    def call(self, name: str, *, most_s: float = 600) -> asyncio.Task[None]:
        async def enter() -> None:
            await self.gate.enter(most_s=most_s, told=self.told.append)
            self.begun.append(name)

        self.tasks[name] = asyncio.create_task(enter())
        return self.tasks[name]

    async def settled(self) -> list[str]:
        """Who goes on, once nobody can do so that has not."""
        for _ in range(5):
            await asyncio.sleep(0)
        return self.begun

    async def end(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


def soon(call: asyncio.Task[None]) -> Any:
    return asyncio.wait_for(call, 10)


async def test_without_a_limit_all_begin_at_once() -> None:
    calls = Calls()
    for name in "abc":
        calls.call(name)
    assert await calls.settled() == ["a", "b", "c"]
    assert (calls.gate.report().active, calls.gate.report().waiting) == (3, 0)


async def test_with_a_limit_nobody_begins_before_the_fleet_has_said_something() -> None:
    calls = Calls(concurrency=2)
    for name in "abc":
        calls.call(name)
    assert await calls.settled() == []
    assert calls.gate.report().waiting == 3
    calls.gate.heard(ProviderNews(share=1))
    assert await calls.settled() == ["a"]
    await calls.end()


async def test_a_fleet_that_divides_nothing_leaves_the_whole_limit() -> None:
    calls = Calls(concurrency=2)
    gates = Gates(ModelsConfig(providers={"p": Provider(concurrency=2)}))
    gates.heard({})
    calls.gate.heard(None)
    for name in "abc":
        calls.call(name)
    assert await calls.settled() == ["a", "b"]
    calls.gate.heard(ProviderNews(share=3))
    calls.gate.heard(None)  # toolsvc is away: the last word holds
    assert await calls.settled() == ["a", "b", "c"]


async def test_first_come_first_served() -> None:
    calls = Calls(concurrency=1)
    calls.gate.heard(ProviderNews(share=1))
    for name in "abcd":
        calls.call(name)
    await calls.settled()
    calls.tasks["b"].cancel()
    for _ in range(3):
        calls.gate.leave()
        await calls.settled()
    assert calls.begun == ["a", "c", "d"]
    assert calls.gate.report().active == 0


async def test_a_turn_that_comes_together_with_a_cancel_is_given_back() -> None:
    calls = Calls(concurrency=1)
    calls.gate.heard(ProviderNews(share=1))
    for name in "abc":
        calls.call(name)
    await calls.settled()
    calls.gate.leave()  # b's turn, which b does not live to see
    calls.tasks["b"].cancel()
    assert await calls.settled() == ["a", "c"]
    assert calls.gate.report().active == 1


async def test_a_smaller_share_takes_no_call_away() -> None:
    calls = Calls(concurrency=4)
    calls.gate.heard(ProviderNews(share=2))
    for name in "abc":
        calls.call(name)
    await calls.settled()
    calls.gate.heard(ProviderNews(share=1))
    calls.gate.leave()
    assert await calls.settled() == ["a", "b"]
    calls.gate.leave()
    assert await calls.settled() == ["a", "b", "c"]


async def test_what_a_server_asks_for_counts_here_at_once_and_is_reported() -> None:
    calls = Calls()
    calls.gate.failed(Fault(kind=Kind.BUSY, again=True, after_s=8))
    calls.call("a")
    assert await calls.settled() == []
    assert calls.told == [Closed(Kind.BUSY, 8)]
    assert calls.gate.report().hold_s == 8
    calls.clock.now += 8
    await soon(calls.tasks["a"])
    assert calls.gate.report().hold_s == 0


async def test_what_others_were_asked_for_counts_here_and_is_not_reported_again() -> None:
    calls = Calls()
    calls.gate.heard(ProviderNews(held_s=5))
    calls.call("a")
    assert await calls.settled() == []
    assert calls.gate.report().hold_s == 0
    await calls.end()


async def test_while_a_server_is_down_calls_wait_and_then_one_tries() -> None:
    calls = Calls()
    calls.gate.heard(ProviderNews(state=State.OPEN, open_s=5))
    for name in "ab":
        calls.call(name)
    assert await calls.settled() == []
    calls.gate.heard(ProviderNews(share=0, state=State.HALF_OPEN))
    assert await calls.settled() == []
    calls.gate.heard(ProviderNews(share=1, state=State.HALF_OPEN))
    assert await calls.settled() == ["a"]
    calls.gate.heard(ProviderNews(share=1, state=State.HALF_OPEN))
    assert await calls.settled() == ["a"]
    calls.gate.answered()
    assert await calls.settled() == ["a", "b"]


async def test_a_try_that_fails_is_not_followed_by_another_before_the_fleet_says_so() -> None:
    calls = Calls()
    calls.gate.heard(ProviderNews(share=1, state=State.HALF_OPEN))
    for name in "ab":
        calls.call(name)
    await calls.settled()
    calls.gate.failed(DOWN)
    calls.gate.leave()
    assert await calls.settled() == ["a"]
    await calls.end()


async def test_without_news_a_server_is_tried_when_its_time_is_over() -> None:
    calls = Calls()
    calls.gate.heard(ProviderNews(state=State.OPEN, open_s=2))
    calls.call("a")
    calls.clock.now += 2 + DEAF_S / 2
    assert await calls.settled() == []
    calls.clock.now += DEAF_S / 2
    await soon(calls.tasks["a"])


async def test_who_cannot_hope_gives_up_at_once_and_in_words() -> None:
    calls = Calls(retry_for_s=5)
    calls.gate.heard(ProviderNews(state=State.OPEN, open_s=9))
    with pytest.raises(BatonError, match="is not asked for 9 seconds") as refused:
        await calls.call("a")
    assert refused.value.code is Code.UPSTREAM_UNAVAILABLE
    calls.gate.heard(ProviderNews(held_s=9))
    with pytest.raises(BatonError) as refused:
        await calls.call("b")
    assert refused.value.code is Code.UPSTREAM_RATE_LIMITED
    assert calls.gate.report().waiting == 0


async def test_who_has_waited_long_enough_gives_up() -> None:
    calls = Calls(retry_for_s=5)
    calls.gate.heard(ProviderNews(share=0, state=State.HALF_OPEN))
    waiting = calls.call("a")
    await calls.settled()
    calls.clock.now += 2
    calls.gate.heard(ProviderNews(state=State.OPEN, open_s=1))
    calls.clock.now += 3
    with pytest.raises(BatonError, match="does not work"):
        await soon(waiting)


async def test_no_turn_for_too_long_ends_a_wait_as_well() -> None:
    calls = Calls(concurrency=1)
    calls.gate.heard(ProviderNews(share=1))
    calls.call("a")
    waiting = calls.call("b", most_s=30)
    await calls.settled()
    calls.clock.now += 1.5

    async def told() -> bool:
        return calls.told == [None]

    await until(told)
    calls.clock.now += 30
    with pytest.raises(BatonError, match="No turn at the model server came within 30 seconds"):
        await soon(waiting)


async def test_a_report_tells_totals_and_the_failures_since_the_last_answer() -> None:
    gate = Calls(breaker={"failures": 4, "open_s": 20.0}).gate
    hung = Fault(kind=Kind.HUNG, again=False)
    for fault in (DOWN, hung, Fault(kind=Kind.BUSY, again=True)):
        gate.failed(fault)
    report = gate.report()
    assert (report.failed, report.answered, report.streak) == (2, 0, 2)
    assert (report.breaker_failures, report.breaker_open_s) == (4, 20.0)
    gate.failed(Fault(kind=Kind.ANSWERED, again=False))
    gate.failed(DOWN)
    report = gate.report()
    assert (report.failed, report.answered, report.streak) == (3, 1, 1)
