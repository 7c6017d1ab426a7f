"""Walking the points: for each one a runner that dies there, and a run that it carries.

A batch has an agent of its own, which nobody else serves: as many runs as victims, each victim
takes one, and who rescues the runs comes when the victims have died. So it is plain what happened
at which point.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from drill.client import Client
from drill.talk import Ask
from tests.faults.nursery import CLAIMS, Act, Fault, Forked
from tests.faults.scene import (
    PATIENCE_S,
    POLL_S,
    Scene,
    hand_off_ask,
    ready,
    retried_ask,
    seen,
    stumbling_ask,
    tools_ask,
    until,
)

#: The only points before a claim that belong to the path.
LISTENS = "runner.worker:Worker.listen doorbell.listen before"
_CARRIES = "runner.worker:Worker._begin carrying.carry before"
_EARLY = ("runner.worker:Worker.listen", "shared.bus.doorbell:listen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """What a victim goes through, besides its fault."""

    name: str
    ask: Callable[[str], Ask] = tools_ask
    #: A predecessor gives the run away after some steps, so that the victim takes it over. Were
    #: it killed, each run would be suspect after its victim's death, and carried alone.
    given_away: bool = False
    #: What happens to the victim besides; it may die only afterwards, where `late` is set.
    own: tuple[Fault, ...] = ()
    late: bool = False

    def faults(self, point: str | None) -> tuple[Fault, ...]:
        """The victim's faults; without a point it comes through the story."""
        if point is None:
            return self.own
        arming = [CLAIMS, *(one.point for one in self.own if self.late)]
        early = point.startswith(_EARLY)
        armed_by = () if early else tuple(one for one in arming if one != point)
        return (*self.own, Fault(point=point, armed_by=armed_by))


_COMMITS = "runner.record:Record.commit _until_answered before"

#: In the order in which they are tried for a point: the first one that reaches it is walked.
STORIES = (
    Story(name="HandOff", ask=hand_off_ask),
    Story(name="Tools"),
    Story(name="TakenOver", given_away=True),
    Story(name="Stumbles", ask=stumbling_ask),
    Story(name="Retried", ask=retried_ask),
    Story(name="StumblesAgain", ask=stumbling_ask, given_away=True),
    Story(
        name="Deploy",
        own=(
            Fault(
                point="baton.tools:gateway_tool.invoke caller before",
                act=Act.END,
                armed_by=(CLAIMS,),
            ),
        ),
        late=True,
    ),
    Story(
        name="Cut",
        ask=hand_off_ask,
        own=(
            Fault(point=LISTENS, act=Act.CUT),
            Fault(point="runner.run:Driver._append_starts append before", act=Act.CUT),
            Fault(point="runner.publisher:Publisher._send append_all before", act=Act.CUT),
            Fault(
                point="runner.record:Record._once _http.request enter before",
                act=Act.CUT,
                armed_by=(_COMMITS,),
            ),
        ),
    ),
)

#: A victim that has not come to its point by then will not come.
MEET_S = 45

_numbers = count(1)


@asynccontextmanager
async def _victims(
    scene: Scene, story: Story, faults: Sequence[tuple[Fault, ...]], record: Path | None = None
) -> AsyncIterator[list[Forked]]:
    """Runners that carry a run each; after the block somebody carries the runs to their ends."""
    number = next(_numbers)
    agent = f"{story.name}{number}"
    home = scene.agents(agent)
    asks = [story.ask(f"c{number * 1000 + n}x0x") for n in range(len(faults))]
    if story.given_away:  # not before all of them have begun
        asks = [replace(ask, text=f"{ask.text} [[delay=2]]") for ask in asks]
    clients = [scene.client(agent, ask) for ask in asks]

    def talk() -> list[asyncio.Task[None]]:
        return [asyncio.create_task(one.converse(asyncio.Event())) for one in clients]

    talking: list[asyncio.Task[None]] = []
    try:
        if story.given_away:
            first = await scene.runner(home, slots=len(faults))
            await ready(first)
            talking = talk()
            await until(lambda: all(_has_a_step(one) for one in clients))
            first.kill(signal.SIGTERM)
            await _until_ended([first], [story.name], status=0)
        victims = [await scene.runner(home, *one, record=record) for one in faults]
        await ready(*victims)
        talking = talking or talk()
        yield victims
        rescuer = await scene.runner(home, slots=len(faults))
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*talking)
        rescuer.kill(signal.SIGTERM)
    finally:
        for one in talking:
            one.cancel()


async def walk(scene: Scene, story: Story, points: Sequence[str]) -> list[str]:
    """Kill one runner at each point, and tell those to which none came.

    The scene notes which run met which.
    """
    faults = [story.faults(point) for point in points]
    async with _victims(scene, story, faults) as victims:
        await asyncio.wait([asyncio.create_task(one.ended()) for one in victims], timeout=MEET_S)
        missed = [point for one, point in zip(victims, points, strict=True) if one.lives]
        for one in victims:
            one.kill()
        await _until_ended(victims, points)
    for point, victim in zip(points, victims, strict=True):
        for run in victim.runs():
            scene.met.setdefault(run, []).append(point)
    return missed


async def reach(scene: Scene, story: Story, record: Path) -> set[str]:
    """The points that a runner passes from its claim of a run on, if it comes through."""
    async with _victims(scene, story, [story.faults(None)], record) as (runner,):
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while runner.lives and LISTENS not in _with_a_run(record):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_S)
        assert not runner.lives or LISTENS in _with_a_run(record), runner.log.read_text()
        runner.kill()
    return _early(record) | _with_a_run(record)


def _early(record: Path) -> set[str]:
    passed = record.read_text().splitlines()
    return {point for point in passed if point.startswith(_EARLY)}


def _with_a_run(record: Path) -> set[str]:
    """What was passed since the claim that brought a run; others bring nothing."""
    passed = record.read_text().split(CLAIMS + "\n") if record.exists() else []
    carried = [part for part in passed if _CARRIES in part]
    return {CLAIMS, *carried[0].splitlines()} if carried else set()


def _has_a_step(client: Client) -> bool:
    return any(one.event["type"] == "TOOL_CALL_RESULT" for one in seen(client))


async def _until_ended(
    victims: Sequence[Forked], points: Sequence[str], *, status: int = -signal.SIGKILL
) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(one.ended() for one in victims))
    living = [point for one, point in zip(victims, points, strict=True) if one.lives]
    assert not living, f"runners live that should have ended at: {living}"
    assert {one.status.result() for one in victims} == {status}
