"""A run that outgrows its model goes on with a summary of its beginning, whoever dies meanwhile."""

from collections.abc import Sequence
from typing import Any

import httpx2
import openai
import orjson
import pytest
from agents import Agent, ModelSettings, function_tool
from openai.types.responses import ResponseCompactionItem

from runner.carried import StopKind
from runner.compaction.agent import ACTIVITY, INSTRUCTIONS, INTRODUCTION, NAME
from runner.compaction.threads import standing
from runner.drop_ins.exports import Export
from tests.runner.replay.rig import (
    CrashedError,
    Items,
    Outcome,
    World,
    attempt,
    call,
    outputs,
    text,
)

pytestmark = pytest.mark.asyncio

ABOVE = 400
TURNS = 5
LONG = "word " * 25


def program(world: World, turns: int = TURNS) -> Export:
    @function_tool
    def look(number: int) -> str:
        world.do(f"look {number}")
        return f"{number}: {LONG}"

    return Agent(name="A", instructions="Help.", tools=[look])


class Server:
    """Calls the tool for `turns` turns, two calls a turn, and remembers every input."""

    def __init__(self, turns: int = TURNS, *, refuses_above: int | None = None) -> None:
        self.turns, self.refuses_above = turns, refuses_above
        self.inputs: list[Items] = []
        self.pieces: list[str] = []

    def __call__(self, system: str, items: Items) -> Sequence[Any]:
        if system == INSTRUCTIONS:
            return [self.summary(items[0]["content"])]
        if self.refuses_above is not None and len(str(items)) > self.refuses_above:
            raise too_long()
        self.inputs.append(items)
        number = self.turn(items)
        if number == self.turns:
            return [text("done")]
        return [call("look", f"c{number}{half}", number=number) for half in "ab"]

    def summary(self, given: str) -> Any:
        """It counts, so that the model knows how far it has come."""
        self.pieces.append(given)
        seen = [number for number in range(self.turns) if f"tool: {number}: " in given]
        before = int(given.partition("<")[2].partition(">")[0]) if INTRODUCTION in given else -1
        return text(f"<{max([before, *seen])}>")

    def turn(self, items: Items) -> int:
        told = [one["content"] for one in items if INTRODUCTION in str(one.get("content"))]
        before = int(told[-1].partition("<")[2].partition(">")[0]) if told else -1
        return max([before, *(int(one.partition(":")[0]) for one in outputs(items).values())]) + 1


def too_long() -> openai.BadRequestError:
    request = httpx2.Request("POST", "http://model/v1/responses")
    body = {"code": "context_length_exceeded", "message": "too long"}
    return openai.BadRequestError("no", response=httpx2.Response(400, request=request), body=body)


def marks(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in messages if one["role"] == "activity"]


def seen(outcome: Outcome) -> dict[str, Any]:
    """What must be the same whoever went on; the ids of messages differ, and what they name not."""
    messages = outcome.run.messages()
    ids = {one["id"]: number for number, one in enumerate(messages)}
    ends = [ids.get(one["content"]["until"]) for one in marks(messages)]
    plain = [one for one in outcome.seen["messages"] if one["role"] != "activity"]
    summaries = [one["content"]["summary"] for one in marks(messages)]
    return outcome.seen | {"messages": plain, "marks": list(zip(summaries, ends, strict=True))}


def assert_pairs_are_whole(items: Items) -> None:
    asked = [one["call_id"] for one in items if one.get("type") == "function_call"]
    answered = [one["call_id"] for one in items if one.get("type") == "function_call_output"]
    assert sorted(asked) == sorted(answered)


async def test_what_a_run_adds_is_summarised_and_calls_stay_with_their_results() -> None:
    made, server = World(compacts_above=ABOVE), Server()
    outcome = await attempt(program, made, answers=server)
    assert (outcome.stop.kind, outcome.stop.result) == (StopKind.FINISHED, "done")
    assert made.done == [f"look {number}" for number in range(TURNS) for _ in "ab"]
    for items in server.inputs:
        assert_pairs_are_whole(items)
        assert len(str(items)) < 6 * ABOVE
    summary, said = server.inputs[-1][:2]
    assert summary["content"].startswith(INTRODUCTION)
    assert said["content"] == "go"  # what the person wants stays in his own words
    # The thread keeps all of it, and says what was summarised; later runs begin with that.
    messages = outcome.run.messages()
    assert sum(one["role"] == "tool" for one in messages) == 2 * TURNS
    assert len(marks(messages)) > 1
    newest = marks(messages)[-1]
    assert newest["activityType"] == ACTIVITY
    summary_of_all, left = standing(messages)
    assert summary_of_all == newest["content"]["summary"]
    assert 0 < len(left) < len(messages) / 2
    assert left[0]["role"] == "assistant"
    assert left[0]["toolCalls"]
    assert outcome.run.usage["scripted"]["totalTokens"] == 3 * len(made.asked)
    # Clients see who was at work, and what came of it.
    rows = [orjson.loads(row.data) for commit in made.commits for row in commit.rows]
    told = [one["content"] for one in rows if one["type"] == "ACTIVITY_SNAPSHOT"]
    assert told == [one["content"] for one in marks(messages)]
    steps = [one["stepName"] for one in rows if one["type"] == "STEP_STARTED"]
    assert steps == ["A", *[NAME, "A"] * len(told)]


async def test_whoever_takes_over_folds_as_it_was_folded_and_asks_nothing_twice() -> None:
    whole = World(compacts_above=ABOVE)
    undisturbed = await attempt(program, whole, answers=Server())
    kinds = [step.kind for step in whole.journal]
    assert kinds.count("compaction") > 1
    for steps in range(len(whole.journal)):
        made = World(compacts_above=ABOVE)
        with pytest.raises(CrashedError):
            await attempt(program, made, answers=Server(), dies_at=steps)
        asked = len(made.asked)
        outcome = await attempt(program, made, answers=Server())
        assert seen(outcome) == seen(undisturbed), f"after {steps} steps"
        recorded = sum(kind in ("model", "compaction") for kind in kinds[:steps])
        assert len(made.asked) - asked == len(whole.asked) - recorded
        assert [step.kind for step in made.journal] == kinds


async def test_settings_changed_under_way_change_nothing_that_was_decided() -> None:
    made = World(compacts_above=ABOVE)
    undisturbed = await attempt(program, made, answers=Server())
    again = made.copy()
    again.compacts_above = None
    assert seen(await attempt(program, again, answers=Server())) == seen(undisturbed)
    plain = World()
    outcome = await attempt(program, plain, answers=Server())
    assert marks(outcome.run.messages()) == []
    plain.compacts_above = ABOVE
    assert (await attempt(program, plain, answers=Server())).seen == outcome.seen


async def test_a_snapshot_knows_what_was_folded_and_tokens_are_counted_once() -> None:
    history = [{"id": f"u{n}", "role": "user", "content": f"{n}: {LONG * 3}"} for n in range(8)]
    made = World(compacts_above=ABOVE, history=history)
    whole = await attempt(program, made, answers=Server())
    scopes = [step.scope for step in made.journal if step.kind == "compaction"]
    assert scopes.count("") >= 1
    assert len(set(scopes)) == 2
    left, server = World(compacts_above=ABOVE, history=history), Server()
    with pytest.raises(CrashedError):
        await attempt(program, left, answers=server, dies_at=len(made.journal) - 1)
    asked = len(server.inputs)
    outcome = await attempt(program, left, answers=server)
    assert outcome.run.restored is not None
    assert seen(outcome) == seen(whole)
    assert server.inputs[asked:] == server.inputs[asked - 1 : asked]


@pytest.mark.parametrize("above", [None, 1_000_000])
async def test_what_the_server_finds_too_long_is_folded_once_and_sent_again(
    above: int | None,
) -> None:
    whole = World(compacts_above=above)
    undisturbed = await attempt(program, whole, answers=Server(refuses_above=2200))
    assert undisturbed.stop.result == "done"
    assert marks(undisturbed.run.messages())
    kinds = [step.kind for step in whole.journal]
    for steps in range(kinds.index("compaction"), len(kinds)):
        made = World(compacts_above=above)
        with pytest.raises(CrashedError):
            await attempt(program, made, answers=Server(refuses_above=2200), dies_at=steps)
        outcome = await attempt(program, made, answers=Server(refuses_above=2200))
        assert seen(outcome) == seen(undisturbed), f"after {steps} steps"


async def test_what_stays_too_long_ends_the_run_with_its_code() -> None:
    def answers(system: str, items: Items) -> Sequence[Any]:
        if system == INSTRUCTIONS or len(items) == 1:
            return Server()(system, items)
        raise too_long()

    made = World()
    outcome = await attempt(program, made, answers=answers)
    assert outcome.seen["error"] is not None
    assert outcome.seen["error"][0] == "context_length_exceeded"
    folded = {step.place for step in made.journal if step.kind == "compaction"}
    assert {place.rpartition(".")[0] for place in folded} == {"1.0.again"}
    nothing_to_fold = await attempt(program, World(), answers=Server(refuses_above=1))
    assert nothing_to_fold.seen["error"] == outcome.seen["error"]


async def test_where_summarising_fails_the_call_is_made_with_all_of_it() -> None:
    class Failing(Server):
        def summary(self, given: str) -> Any:
            raise ValueError("no")

    made, server = World(compacts_above=ABOVE), Failing(4)
    outcome = await attempt(program, made, answers=server)
    assert outcome.stop.result == "done"
    assert len(outputs(server.inputs[-1])) == 8
    assert marks(outcome.run.messages()) == []
    assert (await attempt(program, made, answers=server)).seen == outcome.seen


async def test_an_agent_used_as_a_tool_is_folded_too_and_its_thread_is_not_marked() -> None:
    def nested(world: World) -> Export:
        inner: Any = program(world)
        tool = inner.as_tool(tool_name="ask", tool_description="Ask.")
        return Agent(name="Outer", instructions="Outer.", tools=[tool])

    server = Server()

    def answers(system: str, items: Items) -> Sequence[Any]:
        if system == "Outer.":
            return [text("over") if outputs(items) else call("ask", "c", input="go")]
        return server(system, items)

    made = World(compacts_above=ABOVE)
    whole = await attempt(nested, made, answers=answers)
    assert whole.stop.result == "over"
    assert any(step.kind == "compaction" for step in made.journal)
    assert marks(whole.run.messages()) == []
    left = made.copy()
    left.compacts_above = ABOVE
    del left.journal[-3:]
    assert (await attempt(nested, left, answers=answers)).seen == whole.seen


async def test_where_the_provider_compacts_we_do_not_and_its_item_goes_back_to_it() -> None:
    def managed(world: World) -> Any:
        agent: Any = program(world)
        agent.model_settings = ModelSettings(
            context_management=[{"type": "compaction", "compact_threshold": 1000}]
        )
        return agent

    server = Server(4)
    item = ResponseCompactionItem(id="cmp_1", type="compaction", encrypted_content="secret")

    def answers(system: str, items: Items) -> Sequence[Any]:
        said = server(system, items)
        return [item, *said] if len(server.inputs) == 3 else said

    made = World(compacts_above=ABOVE)
    whole = await attempt(managed, made, answers=answers)
    assert whole.stop.result == "done"
    assert server.pieces == []
    assert [one.get("encrypted_content") for one in server.inputs[-1]].count("secret") == 1
    left = made.copy()
    left.compacts_above = ABOVE
    del left.journal[-1:]
    assert (await attempt(managed, left, answers=Server(4))).seen == whole.seen
