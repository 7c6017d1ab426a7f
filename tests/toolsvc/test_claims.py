"""Claims: whose turn it is, one run at a time, and taking over from the dead."""

import asyncio
from typing import Any

import orjson
import pytest

from shared.tokens import verify_run_token
from tests.toolsvc.record_rig import (
    AGENTS,
    GATEWAY_KEY,
    RUNNER_KEY,
    TOKEN_KEY,
    RecordRig,
    event,
    refused,
    row,
    span,
    step,
)

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


# ------------------------------------------------------------------------------ whose turn it is
async def test_two_people_take_turns_however_many_runs_one_of_them_has(rig: RecordRig) -> None:
    ada, ben = await rig.person(), await rig.person()
    of_ada = [await rig.run(ada) for _ in range(4)]
    of_ben = [await rig.run(ben) for _ in range(2)]
    runner = await rig.runner()
    claimed = [(await runner.claim()).run for _ in range(6)]
    assert claimed == [of_ada[0], of_ben[0], of_ada[1], of_ben[1], of_ada[2], of_ada[3]]
    assert await runner.ask() is None


async def test_a_lower_priority_number_goes_before_every_turn(rig: RecordRig) -> None:
    ada = await rig.person()
    await rig.run(ada)
    urgent = await rig.run(ada)
    await rig.sql("UPDATE runs SET priority = -1 WHERE id = :run", run=urgent)
    assert (await (await rig.runner()).claim()).run == urgent


async def test_the_hint_of_a_queued_run_does_not_jump_the_queue(rig: RecordRig) -> None:
    ada = await rig.person()
    first, second = await rig.run(ada), await rig.run(ada)
    assert (await (await rig.runner()).claim(second)).run == first


async def test_a_thread_has_one_run_at_a_time(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    first, second = await rig.run(ada, thread), await rig.run(ada, thread, ready=False)
    runner = await rig.runner()
    claimed = await runner.claim()
    assert claimed.run == first
    assert await runner.ask(second) is None
    await rig.committed(claimed, end={"outcome": "finished"})
    assert (await runner.claim()).run == second


# ------------------------------------------------------------------------------ who may claim
@pytest.mark.parametrize(
    ("announced", "may_call"),
    [
        ({}, None),
        ({"tools": ["save_note", "of_no_registry"]}, ("save_note",)),
        ({"tools": []}, ()),
        ({"tools": "save_note"}, ()),
    ],
)
async def test_a_token_allows_the_tools_that_the_agent_allows(
    rig: RecordRig, announced: dict[str, Any], may_call: tuple[str, ...] | None
) -> None:
    await rig.run(await rig.person())
    runner = await rig.runner()
    await runner.announce({"Assistant": AGENTS["Assistant"] | announced})
    token = verify_run_token(TOKEN_KEY, (await runner.claim()).token)
    assert token.tools == may_call


async def test_a_runner_gets_runs_of_agents_that_it_announced(rig: RecordRig) -> None:
    ada = await rig.person()
    await rig.run(ada, agent="Other")
    runner = await rig.runner()
    assert await runner.ask() is None
    await runner.announce({"Assistant": {}, "Other": {}})
    assert (await runner.claim()).agent == "Other"


async def test_a_runner_without_a_living_lease_gets_nothing(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    runner = await rig.runner()
    await runner.lose_lease()
    assert await runner.ask(run) is None
    await runner.beat()
    assert (await runner.claim()).run == run


async def test_nobody_claims_without_the_runners_key(rig: RecordRig) -> None:
    await rig.run(await rig.person())
    await rig.runner()
    for key in ("", "x", GATEWAY_KEY, RUNNER_KEY + " "):
        answer = await rig.post("/claims", {"runner": "r1", "slots": 1}, key)
        assert refused(answer) == (401, "not_signed_in")


BAD_CLAIMS: list[Any] = [
    b"",
    b"[]",
    b"\xff",
    b"[" * 100_000,
    {"slots": 1},
    {"runner": "", "slots": 1},
    {"runner": "r" * 129, "slots": 1},
    {"runner": "r\0", "slots": 1},
    {"runner": 7, "slots": 1},
    {"runner": "r1", "slots": 0},
    {"runner": "r1", "slots": 1, "hint": "x"},
]


@pytest.mark.parametrize("body", BAD_CLAIMS)
async def test_a_malformed_claim_is_refused(rig: RecordRig, body: Any) -> None:
    run = await rig.run(await rig.person())
    await rig.runner()
    assert refused(await rig.post("/claims", body, RUNNER_KEY)) == (422, "bad_input")
    assert await rig.status(run) == "queued"


# ------------------------------------------------------------------------------ what it brings
async def test_a_first_claim_stores_the_start_and_links_the_message(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    run = await rig.run(ada, thread)
    claimed = await (await rig.runner()).claim()
    assert (claimed.run, claimed.root, claimed.thread, claimed.user) == (run, run, thread, ada.id)
    assert (claimed.fence, claimed.first, claimed.sql_last) == (1, True, (0, 0))
    assert [message["content"] for message in claimed.messages] == ["hello"]
    assert (claimed.history, claimed.input) == ([], {"forwardedProps": {"x": 1}})
    (start,) = claimed.starts
    told = orjson.loads(start.data)
    assert (told["type"], told["input"]["messages"]) == ("RUN_STARTED", claimed.messages)
    assert await rig.positions(thread) == [(1, 1, 1, "RUN_STARTED")]
    state = await rig.thread_row(thread)
    assert (state.fence, state.settled, state.last_fence, state.last_seq) == (1, 1, 1, 1)
    assert state.head == claimed.messages[0]["id"]
    assert await rig.chain_holds(thread)
    token = verify_run_token(TOKEN_KEY, claimed.token)
    assert (token.run, token.fence, token.user) == (run, 1, ada.id)
    assert token.expires == pytest.approx(claimed.token_expires, abs=2)


async def test_the_next_run_knows_the_conversation_and_sqls_last_id(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    await rig.run(ada, thread)
    second = await rig.run(ada, thread, ready=False)
    runner = await rig.runner()
    first = await runner.claim()
    said = {"id": "answer", "role": "assistant", "content": "hi"}
    await rig.committed(first, rows=[row(2, to=7)], end={"outcome": "finished", "messages": [said]})
    claimed = await runner.claim()
    assert (claimed.run, claimed.fence, claimed.sql_last) == (second, 2, (1, 7))
    assert claimed.history == [*first.messages, said]
    parents = {one.id: one.parent for one in await rig.sql("SELECT id, parent FROM messages")}
    assert parents == {
        first.messages[0]["id"]: None,
        "answer": first.messages[0]["id"],
        claimed.messages[0]["id"]: "answer",
    }
    assert await rig.chain_holds(thread)


# ------------------------------------------------------------------------------ many at once
async def test_fifty_claimers_at_once_never_get_the_same_run(rig: RecordRig) -> None:
    ada, ben = await rig.person(), await rig.person()
    runs = {await rig.run(one) for one in (ada, ben) for _ in range(25)}
    runners = [await rig.runner(f"r{number}") for number in range(10)]
    got: list[Any] = []
    while len(got) < len(runs):
        answers = await asyncio.gather(*(runners[n % 10].ask() for n in range(50)))
        got += [(one.run, one.fence) for one in answers if one is not None]
    assert len(got) == len(set(got)) == len(runs)
    assert {run for run, _ in got} == runs
    assert {fence for _, fence in got} == {1}


async def test_fifty_at_once_take_a_stranded_run_over_once(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    dead = await rig.runner("dead")
    await dead.claim()
    await dead.lose_lease()
    runners = [await rig.runner(f"r{number}") for number in range(5)]
    answers = await asyncio.gather(*(runners[n % 5].ask(run) for n in range(50)))
    (claimed,) = [one for one in answers if one is not None]
    assert (claimed.run, claimed.fence) == (run, 2)


# ------------------------------------------------------------------------------ taking over
async def test_a_stranded_run_is_taken_over_with_all_that_is_known(rig: RecordRig) -> None:
    ada = await rig.person()
    thread = await rig.thread(ada)
    run = await rig.run(ada, thread)
    dead, alive = await rig.runner("dead"), await rig.runner("alive")
    first = await dead.claim()
    opening = [2, 2, "STEP_STARTED", event("STEP_STARTED", 2, stepName="A")]
    await rig.committed(
        first,
        1,
        rows=[opening, row(3)],
        steps=[step("0"), step("call_b", kind="tool")],
        spans=[span("open"), span("done", ended=True)],
    )
    await rig.committed(first, 2, rows=[row(4)], steps=[step("call_a", kind="tool")])
    await dead.lose_lease()

    taken = await alive.claim(run)
    assert (taken.fence, taken.first, taken.sql_last) == (2, False, (1, 4))
    assert [(one.fence, one.seq, one.type) for one in taken.starts] == [
        (1, 1, "RUN_STARTED"),
        (2, 1, "CUSTOM"),
    ]
    assert [one.place for one in taken.journal] == ["0", "call_b", "call_a"]
    assert [orjson.loads(one)["type"] for one in taken.brackets] == ["STEP_STARTED"]
    assert (taken.history, taken.messages) == (first.history, first.messages)
    spans = {one.id: one for one in await rig.sql("SELECT * FROM spans")}
    assert spans["open"].ended_at is not None
    assert spans["open"].error == {"message": "taken_over"}
    assert spans["done"].error is None
    (cut,) = taken.cut_off
    assert (cut.id, cut.ended is not None, cut.error) == ("open", True, {"message": "taken_over"})
    state = await rig.thread_row(thread)
    assert (state.fence, state.settled, state.last_fence, state.last_seq) == (2, 1, 1, 4)
    assert (await rig.run_row(run)).commits == 0
    assert (await rig.events(thread))[-1].hash is None  # it enters the chain when it settles
    assert await rig.chain_holds(thread)


async def test_the_code_that_a_run_began_with_is_remembered(rig: RecordRig) -> None:
    ada = await rig.person()
    run = await rig.run(ada, await rig.thread(ada))
    dead, alive = await rig.runner("dead"), await rig.runner("alive")
    assert (await dead.claim()).agent_digest is None  # it begins here, with the newest
    digest = (await rig.run_row(run)).agent_digest
    assert digest
    await dead.lose_lease()
    answer = await alive.announce({name: {"digest": "another"} for name in AGENTS})
    assert answer.json() == {"in_use": [digest]}
    assert (await alive.claim(run)).agent_digest == digest


async def test_a_run_whose_runner_lives_is_not_taken_over(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await (await rig.runner("busy")).claim()
    assert await (await rig.runner("idle")).ask(run) is None


async def test_nobody_is_declared_dead_by_an_instance_that_may_not_judge(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    dead, alive = await rig.runner("dead"), await rig.runner("alive")
    await dead.claim()
    await dead.lose_lease()
    rig.judge.told = False
    assert await alive.ask(run) is None
    rig.judge.told = True
    assert (await alive.claim(run)).fence == 2


async def test_a_stranded_run_goes_only_to_a_runner_that_serves_its_agent(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    dead = await rig.runner("dead")
    await dead.claim()
    await dead.lose_lease()
    stranger = await rig.runner("stranger", {"Other": {}})
    assert await stranger.ask(run) is None
    silent = await rig.runner("silent")
    await silent.lose_lease()
    assert await silent.ask(run) is None
    await rig.cancel(run)  # to end it, nobody needs the agent
    assert (await stranger.claim(run)).cancelled


async def test_the_stranded_run_of_the_entry_goes_before_a_queued_one(rig: RecordRig) -> None:
    ada = await rig.person()
    stranded, queued = await rig.run(ada), await rig.run(ada)
    dead, alive = await rig.runner("dead"), await rig.runner("alive")
    await dead.claim()
    await dead.lose_lease()
    assert (await alive.claim(stranded)).run == stranded
    assert (await alive.claim(stranded)).run == queued


async def test_a_claim_tells_of_a_cancel_that_came_before(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await rig.cancel(run)
    assert (await (await rig.runner()).claim()).cancelled


@pytest.mark.parametrize(
    "content", ["[]", "7", "null", '{"id": "m", "role": "user", "content": "\\ud800"}']
)
@pytest.mark.parametrize("first", [True, False], ids=["at first", "taken over"])
async def test_a_run_whose_conversation_was_altered_is_closed(
    rig: RecordRig, content: str, first: bool
) -> None:
    person = await rig.person()
    thread = await rig.thread(person)
    runner = await rig.runner()
    await rig.run(person, thread)
    said = await rig.one("SELECT id FROM messages WHERE thread_id = :thread", thread=thread)
    await rig.committed(await runner.claim(), end={"outcome": "finished"})
    run = await rig.run(person, thread)
    if not first:
        await rig.publish(await runner.claim(), range(2, 3), starts=True)
        await runner.lose_lease()
    await rig.sql(
        "UPDATE messages SET content = CAST(:content AS json) WHERE id = :id",
        content=content,
        id=said.id,
    )
    assert (await (await rig.runner("r2")).asked(run)).claimed is None
    row = await rig.run_row(run)
    assert (row.status, row.error_code) == ("failed", "invalid_state")
    assert (await rig.positions(thread))[-1][3] == "RUN_ERROR"
    assert await rig.chain_holds(thread)
