"""Runs that kill their carriers, and the processes started for them, as toolsvc sees them."""

from typing import Any
from uuid import UUID

from shared.protocol.record import RUNNER_PROOF, ClaimedRun
from tests.toolsvc.record_rig import RUNNER_KEY, RecordRig, RunnerDouble


async def deaths(rig: RecordRig, run: UUID) -> int:
    return int((await rig.run_row(run)).deaths)


async def dies_with(rig: RecordRig, run: UUID, name: str) -> ClaimedRun:
    """A runner claims the run, and is silent from then on."""
    runner = await rig.runner(name)
    claimed = await runner.claim(run)
    await runner.lose_lease()
    return claimed


async def suspect(rig: RecordRig) -> UUID:
    """A run whose runners died twice, which nobody has noticed the second time."""
    run = await rig.run(await rig.person())
    await dies_with(rig, run, "first")
    await dies_with(rig, run, "second")
    return run


async def started(rig: RecordRig, run: UUID, lone: str) -> RunnerDouble:
    """The process that a runner starts when it is told to."""
    parent = await rig.runner("parent")
    answer = await parent.asked(run, lone=lone)
    assert (answer.claimed, answer.suspect) == (None, run)
    return await rig.runner(lone, secret=f"secret of {lone}")


async def carried_alone(rig: RecordRig, run: UUID, lone: str) -> tuple[RunnerDouble, ClaimedRun]:
    process = await started(rig, run, lone)
    claimed = await process.ask(run, alone=True)
    assert claimed is not None
    return process, claimed


async def report(
    rig: RecordRig, run: UUID, lone: str, *, secret: str | None = None, **more: Any
) -> Any:
    body = {"lone": lone, "status": "SIGSEGV", "lines": ["a", "b\0"]} | more
    proof = {RUNNER_PROOF: secret or f"secret of {lone}"}
    answer = await rig.post(f"/runs/{run}/deaths", body, RUNNER_KEY, proof)
    assert answer.status_code == 200, answer.text
    return await rig.run_row(run)


async def asked_for(rig: RecordRig, run: UUID, lone: str) -> None:
    """A runner starts a process, of which toolsvc never hears anything itself."""
    assert (await (await rig.runner("parent")).asked(run, lone=lone)).suspect == run
