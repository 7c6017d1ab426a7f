"""A person who decides what runs ask."""

from collections.abc import Callable
from typing import Any

from runner.carried import StopKind
from shared.protocol.record import Decision
from tests.runner.replay.rig import Answers, Outcome, Program, World, attempt

#: Decides a call by its tool and arguments: approved, or the words of a refusal.
Judge = Callable[[str, str], bool | str]


def yes(_tool: str, _arguments: str) -> bool:
    return True


def decided(outcome: Outcome, judge: Judge) -> list[Decision]:
    """What a person says about all that an outcome asks."""
    said = []
    for one in (question.record for question in outcome.stop.asked):
        verdict = judge(one.tool, one.arguments)
        message = verdict if isinstance(verdict, str) else None
        said.append(
            Decision(
                scope=one.scope,
                call_id=one.call_id,
                digest=one.digest,
                approved=verdict is True,
                message=message,
            )
        )
    return said


async def until_it_ends(
    program: Program, world: World, answers: Answers, judge: Judge = yes, **options: Any
) -> Outcome:
    """Carry a run on, by a new process each time, and decide all that it asks."""
    outcome = await attempt(program, world, answers=answers, **options)
    while outcome.stop.kind is StopKind.INTERRUPTED:
        asked = decided(outcome, judge)
        assert asked
        assert not {one.call_id for one in asked} & {one.call_id for one in world.decisions}
        world.decisions += asked
        outcome = await attempt(program, world, answers=answers, resumes=True, **options)
    return outcome
