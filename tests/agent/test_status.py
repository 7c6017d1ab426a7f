from typing import Any

from tests.agent.conftest import Baton
from tests.agent.standin import SOME_TIME, StandIn, page


def process(id_: str, *, alive: bool, broken: dict[str, str] | None = None) -> dict[str, Any]:
    return {
        "id": id_,
        "kind": "runner",
        "version": "dev",
        "alive": alive,
        "startedAt": SOME_TIME,
        "leaseUntil": SOME_TIME,
        "slots": 32,
        "carried": 3,
        "agents": ["Assistant"],
        "broken": broken or {},
    }


def status(processes: list[dict[str, Any]] | None) -> dict[str, Any]:
    leases = None if processes is None else sum(one["alive"] for one in processes)
    return {
        "scope": "mine" if processes is None else "all",
        "gateway": {"version": "1.2", "redisReady": True, "relayLagS": 0.0042},
        "queue": {
            "waiting": 2,
            "oldestS": 1.25,
            "behind": 4,
            "asking": 1,
            "running": 3,
            "stranded": 1,
        },
        "leases": leases,
        "processes": processes,
        "modelServers": None if processes is None else [],
    }


def test_status_tells_processes_queue_leases_and_lag(known: Baton, standin: StandIn) -> None:
    found = status([process("runner-a", alive=True), process("runner-b", alive=False)])
    standin.answers["GET /api/status"] = (200, found)
    result = known("status")
    for words in (
        "1.2 · redis ready · relay lag 4 ms",
        (
            "2 runs waiting (oldest 1.2 s) · 3 running · 4 behind others of their thread"
            " · 1 thread waiting for a decision · 1 to be taken over"
        ),
        "1 living runner",
        "3/32",
    ):
        assert words in result.out
    assert "runner-b" not in result.out
    assert "1 more ended in the last ten minutes: baton status --all" in result.err
    assert "ended" in known("status", "--all").out.partition("runner-b")[2]
    assert known("status", "--json").json == found


def test_broken_agents_are_named_with_file_and_line(known: Baton, standin: StandIn) -> None:
    broken = {"Broken": "agents/Broken/agent.py:3: NameError: name 'x' is not defined"}
    found = status(
        [process("a", alive=True, broken=broken), process("b", alive=True, broken=broken)]
    )
    standin.answers["GET /api/status"] = (200, found)
    assert known("status").out.count("agents/Broken/agent.py:3: NameError") == 1


def test_model_servers_that_calls_wait_for_are_named(known: Baton, standin: StandIn) -> None:
    found = status([process("a", alive=True)])
    found["modelServers"] = [
        {"name": "openai", "state": "down", "seconds": 8.0, "active": 0, "waiting": 3},
        {"name": "other", "state": "held", "seconds": 2.5, "active": 1, "waiting": 1},
        {"name": "local", "state": "works", "seconds": 0.0, "active": 1, "waiting": 0},
    ]
    standin.answers["GET /api/status"] = (200, found)
    said = known("status").out
    assert "openai counts as down for 8.0 s · 3 calls waiting" in said
    assert "other asked to be left alone for 2.5 s · 1 call waiting" in said
    assert "local" not in said


def test_without_a_living_runner_it_says_what_that_means(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/status"] = (200, status([process("a", alive=False)]))
    assert "no living runner" in known("status").out


def test_who_is_no_admin_sees_their_own_queue(known: Baton, standin: StandIn) -> None:
    standin.answers["GET /api/status"] = (200, status(None))
    result = known("status")
    assert "3 running" in result.out
    assert "Only admins see processes" in result.err


def test_agents_are_listed(known: Baton, standin: StandIn) -> None:
    result = known("agents")
    assert "Assistant" in result.out
    assert "Researcher" in result.out
    standin.answers["GET /api/agents"] = (200, page())
    assert "No agent is served" in known("agents").err
