"""Deaths of carriers: each counts once, progress forgives; alone after two, poisoned by four."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from shared.protocol.record import RUNNER_PROOF, WORDS_LINES
from tests.toolsvc.record_rig import (
    GATEWAY_KEY,
    RUNNER_KEY,
    RecordRig,
    refused,
    row,
    step,
)
from tests.toolsvc.suspects import (
    asked_for,
    carried_alone,
    deaths,
    dies_with,
    report,
    started,
    suspect,
)
from toolsvc.runs.claim import claim_to_close
from toolsvc.runs.rering import SUSPECTS_AT_ONCE, _look

pytestmark = [pytest.mark.stores, pytest.mark.asyncio]


# ------------------------------------------------------------------------------ what counts
async def test_a_death_is_counted_once_however_many_take_over_at_once(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await dies_with(rig, run, "dead")
    runners = [await rig.runner(f"r{number}") for number in range(5)]
    await asyncio.gather(*(runners[n % 5].ask(run) for n in range(30)))
    assert await deaths(rig, run) == 1


async def test_of_many_that_hear_of_a_suspect_one_starts_a_process(rig: RecordRig) -> None:
    run = await suspect(rig)
    runners = [await rig.runner(f"r{number}") for number in range(5)]
    asked = (runners[n % 5].asked(run, lone=f"lone-{n}") for n in range(30))
    answers = await asyncio.gather(*asked)
    assert [answer.suspect for answer in answers if answer.suspect] == [run]
    assert not any(answer.claimed for answer in answers)
    assert await deaths(rig, run) == 2


async def test_a_step_forgives_and_mere_events_do_not(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await dies_with(rig, run, "dead")
    claimed = await (await rig.runner("next")).claim(run)
    await rig.committed(claimed, 1, tail=[], rows=[row(2)])
    assert await deaths(rig, run) == 1
    await rig.committed(claimed, 2, steps=[step("0")])
    assert await deaths(rig, run) == 0


async def test_a_run_given_away_has_lost_no_carrier(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    for name in ("r1", "r2", "r3"):
        runner = await rig.runner(name)
        await runner.claim(run)
        await runner.leave()
    await (await rig.runner("r4")).claim(run)
    assert await deaths(rig, run) == 0


async def test_a_claim_whose_answer_was_lost_is_no_death(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    runner = await rig.runner()
    await runner.claim(run)
    await rig.sql("UPDATE runs SET claimed_at = claimed_at - interval '1 minute'")
    await runner.beat()  # it does not name the run
    await runner.claim(run)
    assert await deaths(rig, run) == 0


async def test_a_toolsvc_that_dies_while_it_closes_is_no_death(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    await (await rig.runner("r1")).claim(run)
    async with rig.services.direct.transaction() as db:
        await claim_to_close(db, run, "toolsvc-dead")
    await rig.sql(
        "INSERT INTO runners (id, lease_until, version, slots) "
        "VALUES ('toolsvc-dead', now() - interval '1 s', '', 0)"
    )
    await (await rig.runner("r2")).claim(run)
    assert await deaths(rig, run) == 0


async def test_a_frozen_runner_that_wakes_in_time_has_not_died(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    frozen = await rig.runner("frozen")
    claimed = await frozen.claim(run)
    await frozen.lose_lease()
    await frozen.beat(claimed)
    assert await (await rig.runner("other")).ask(run) is None
    assert await deaths(rig, run) == 0


async def test_one_that_wakes_too_late_cannot_take_its_death_back(rig: RecordRig) -> None:
    run = await rig.run(await rig.person())
    frozen = await rig.runner("frozen")
    old = await frozen.claim(run)
    await frozen.lose_lease()
    await (await rig.runner("other")).claim(run)
    await frozen.beat(old)
    assert await rig.refusal(old, 1, steps=[step("0")]) == (409, "fenced")
    assert await deaths(rig, run) == 1


# ------------------------------------------------------------------------------ alone
async def test_a_suspect_goes_only_to_the_process_that_was_started_for_it(rig: RecordRig) -> None:
    run = await suspect(rig)
    assert await (await rig.runner("full")).ask(run) is None  # it can start none
    process = await started(rig, run, "lone-1")
    stranger = await rig.runner("lone-2")
    assert await stranger.ask(run, alone=True) is None
    claimed = await process.ask(run, alone=True)
    assert claimed is not None
    assert (claimed.run, claimed.fence, await deaths(rig, run)) == (run, 3, 2)


async def test_a_lone_process_whose_claim_was_not_answered_asks_again(rig: RecordRig) -> None:
    run = await suspect(rig)
    process, first = await carried_alone(rig, run, "lone-1")
    again = await process.ask(run, alone=True)
    assert again is not None
    assert (again.fence, await deaths(rig, run)) == (first.fence + 1, 2)


async def test_nobody_else_is_asked_while_a_process_starts(rig: RecordRig) -> None:
    run = await suspect(rig)
    await started(rig, run, "lone-1")
    other = await rig.runner("other")
    assert (await other.asked(run, lone="lone-2")).suspect is None
    await _look(rig.services)
    assert await rig.rung() == set()
    await rig.sql("UPDATE runs SET lone_until = now() - interval '1 s'")  # it never came
    await _look(rig.services)
    assert await rig.rung() == {run}
    assert (await other.asked(run, lone="lone-2")).suspect == run
    assert await deaths(rig, run) == 2


async def test_nobody_waits_for_a_process_whose_starter_died(rig: RecordRig) -> None:
    run = await suspect(rig)
    starter, other = await rig.runner("starter"), await rig.runner("other")
    assert (await starter.asked(run, lone="lone-1")).suspect == run
    await starter.lose_lease()
    await _look(rig.services)
    assert await rig.rung() == {run}
    assert (await other.asked(run, lone="lone-2")).suspect == run
    assert (await (await rig.runner("third")).asked(run, lone="lone-3")).suspect is None
    assert await deaths(rig, run) == 2  # it was none of the run's doing


async def test_a_runner_gets_a_queued_run_beside_the_suspect(rig: RecordRig) -> None:
    run = await suspect(rig)
    queued = await rig.run(await rig.person())
    answer = await (await rig.runner()).asked(run, lone="lone-1")
    assert answer.suspect == run
    assert answer.claimed is not None
    assert answer.claimed.run == queued


async def test_progress_alone_makes_it_a_run_like_any_other(rig: RecordRig) -> None:
    run = await suspect(rig)
    process, claimed = await carried_alone(rig, run, "lone-1")
    await rig.committed(claimed, 1, tail=[], steps=[step("0")])
    await process.lose_lease()
    assert (await (await rig.runner("normal")).claim(run)).run == run
    assert await deaths(rig, run) == 1


async def test_a_queued_suspect_begins_in_a_process_of_its_own(rig: RecordRig) -> None:
    """So does a poisoned run that is tried again."""
    run = await rig.run(await rig.person())
    await rig.sql("UPDATE runs SET deaths = 2")
    assert await (await rig.runner("full")).ask(run) is None
    _, claimed = await carried_alone(rig, run, "lone-1")
    assert (claimed.first, claimed.fence) == (True, 1)
    assert (await report(rig, run, "lone-1")).deaths == 3


async def test_a_process_that_gives_its_run_away_did_not_die(rig: RecordRig) -> None:
    """So it does when its parent has died."""
    run = await suspect(rig)
    for lone in ("lone-1", "lone-2", "lone-3"):
        process, _ = await carried_alone(rig, run, lone)
        await process.leave()
    assert await deaths(rig, run) == 2


async def test_a_cancelled_suspect_needs_no_process(rig: RecordRig) -> None:
    """To end it, none of its code is run."""
    run = await suspect(rig)
    await rig.cancel(run)
    answer = await (await rig.runner("other")).asked(run, lone="lone-1")
    assert answer.suspect is None
    assert answer.claimed is not None
    assert answer.claimed.cancelled


async def test_many_suspects_are_rung_for_a_few_at_a_time(rig: RecordRig) -> None:
    ada = await rig.person()
    runs = [await rig.run(ada) for _ in range(SUSPECTS_AT_ONCE + 5)]
    runner = await rig.runner("dead")
    for _ in runs:
        await runner.claim()
    await rig.sql("UPDATE runs SET deaths = 1")
    await runner.lose_lease()
    await rig.runner("alive")
    await _look(rig.services)
    assert len(await rig.rung()) == SUSPECTS_AT_ONCE


# ------------------------------------------------------------------------------ reports
async def test_a_report_counts_at_once_and_keeps_the_last_words(rig: RecordRig) -> None:
    run = await suspect(rig)
    await carried_alone(rig, run, "lone-1")
    found = await report(rig, run, "lone-1")
    assert (found.deaths, found.runner_id) == (3, None)
    words = {"status": "SIGSEGV", "lines": ["a", "b\0"], "process": "lone-1"}
    assert found.last_words == words
    assert await rig.rung() == {run}  # somebody starts the next process
    assert (await report(rig, run, "lone-1")).deaths == 3
    await carried_alone(rig, run, "lone-2")
    assert await deaths(rig, run) == 3


async def test_log_lines_about_a_suspect_name_its_run_as_people_do(rig: RecordRig) -> None:
    run = await suspect(rig)
    with capture_logs([merge_contextvars]) as lines:
        await carried_alone(rig, run, "lone-1")
        await report(rig, run, "lone-1")
    events = ("run is suspect", "run claimed", "a lone process died")
    names = {one["event"]: one.get("run") for one in lines if one["event"] in events}
    assert names == dict.fromkeys(events, (await rig.run_row(run)).public_id)


async def test_a_late_report_brings_only_the_words(rig: RecordRig) -> None:
    run = await suspect(rig)
    process, _ = await carried_alone(rig, run, "lone-1")
    await process.lose_lease()
    await (await rig.runner("parent")).asked(run)  # the lease has told
    assert await deaths(rig, run) == 3
    found = await report(rig, run, "lone-1")
    assert (found.deaths, found.last_words["status"]) == (3, "SIGSEGV")


@pytest.mark.parametrize("begun", [asked_for, started])
async def test_a_process_that_died_before_its_claim_counts_once(rig: RecordRig, begun: Any) -> None:
    run = await suspect(rig)
    await begun(rig, run, "lone-1")
    for _ in range(2):
        found = await report(rig, run, "lone-1")
        assert (found.deaths, found.lone_until, found.status) == (3, None, "running")
    assert found.last_words["process"] == "lone-1"
    assert await rig.rung() == {run}
    await carried_alone(rig, run, "lone-2")
    assert (await report(rig, run, "lone-1")).deaths == 3


@pytest.mark.parametrize("how", [{"status": "SIGTERM"}, {"status": "0", "told_to_end": True}])
async def test_one_that_was_told_to_end_before_its_claim_did_not_die(
    rig: RecordRig, how: dict[str, Any]
) -> None:
    run = await suspect(rig)
    await asked_for(rig, run, "lone-1")
    found = await report(rig, run, "lone-1", **how)
    assert (found.deaths, found.lone_until, found.last_words) == (2, None, None)
    await carried_alone(rig, run, "lone-2")  # at once


async def test_one_that_dies_while_it_is_told_to_end_did_so_of_its_run(rig: RecordRig) -> None:
    run = await suspect(rig)
    await carried_alone(rig, run, "lone-1")
    found = await report(rig, run, "lone-1", told_to_end=True)
    assert (found.deaths, found.last_words["status"]) == (3, "SIGSEGV")


async def test_the_report_of_a_process_that_another_follows_is_nothing_to_its_run(
    rig: RecordRig,
) -> None:
    run = await suspect(rig)
    await asked_for(rig, run, "lone-1")
    await rig.sql("UPDATE runs SET lone_until = now() - interval '1 s'")
    await asked_for(rig, run, "lone-2")
    found = await report(rig, run, "lone-1")
    assert (found.deaths, found.last_words) == (2, None)
    assert found.lone_until is not None


async def test_only_who_started_a_process_can_report_its_death(rig: RecordRig) -> None:
    run = await suspect(rig)
    await carried_alone(rig, run, "lone-1")
    for lone, secret in (("lone-1", "guessed"), ("parent", "its own"), ("unknown", "x")):
        found = await report(rig, run, lone, secret=secret)
        assert (found.deaths, found.last_words) == (2, None)
    other = await rig.run(await rig.person())
    assert (await report(rig, other, "lone-1")).last_words is None
    path, body = f"/runs/{run}/deaths", {"lone": "lone-1", "status": "x"}
    for key in ("", GATEWAY_KEY):
        assert refused(await rig.post(path, body, key)) == (401, "not_signed_in")


BAD_REPORTS: list[Any] = [
    b"",
    [],
    {"lone": "", "status": "x"},
    {"lone": "l"},
    {"lone": "l", "status": "x" * 65},
    {"lone": "l", "status": "x", "lines": ["x"] * (WORDS_LINES + 1)},
    {"lone": "l", "status": "x", "lines": ["x" * 10_000]},
    {"lone": "l\0", "status": "x"},
]


@pytest.mark.parametrize("body", BAD_REPORTS)
async def test_a_malformed_report_is_refused(rig: RecordRig, body: Any) -> None:
    answer = await rig.post(f"/runs/{uuid4()}/deaths", body, RUNNER_KEY, {RUNNER_PROOF: "x"})
    assert refused(answer) == (422, "bad_input")
