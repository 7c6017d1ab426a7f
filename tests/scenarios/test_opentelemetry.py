"""One trace from a client's request to the runner and to toolsvc, and metrics of all of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import httpx
import pytest
import pytest_asyncio

from shared.protocol.ids import new_id, new_thread_id
from shared.telemetry.tracecontext import parsed
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.collector import Collected, Collector
from tests.scenarios.client import Person, Socket
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

CODE = """
from agents import Agent, function_tool
from opentelemetry.propagate import inject

from baton import traceparent

@function_tool
def tell() -> str:
    found = {}
    inject(found)  # as instrumentation does
    return f"{found['traceparent']} {traceparent()}"

@function_tool(needs_approval=True)
def send() -> str:
    return traceparent()

agent = Agent(name="Teller", tools=[tell, send])
"""
SERVICES = {"baton-gateway", "baton-runner", "baton-toolsvc"}
ASKED = '[[tool=save_note {"text": "tea"}]] note it'


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(
    stores: TestStores, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Stack]:
    agents = tmp_path_factory.mktemp("agents")
    (agents / "Teller.py").write_text(CODE)
    env = {
        "BATON_AGENTS_DIR": str(agents),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(demo=True, database_url=url, env=env) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def ada(stack: Stack) -> AsyncIterator[Person]:
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    yield person
    await person.http.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def program(stack: Stack, ada: Person) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    made = await ada.http.post("/api/keys", json={"name": "program"})
    headers = {"Authorization": f"Bearer {made.json()['key']}"}
    url = stack.gateway_urls[0]
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        yield client


async def ask(program: httpx.AsyncClient, **headers: str) -> None:
    body = {"model": "Assistant", "messages": [{"role": "user", "content": ASKED}]}
    answer = await program.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.status_code == 200


async def test_a_trace_goes_through_all_processes(
    program: httpx.AsyncClient, collector: Collector
) -> None:
    trace, asked = new_id("x")[-32:].replace("_", "0"), "00f067aa0ba902b7"
    await ask(program, traceparent=f"00-{trace}-{asked}-01")

    def find(name: str) -> Collected | None:
        return next((one for one in collector.of(trace) if one.name.startswith(name)), None)

    async def arrived() -> bool:
        door, tool = find("POST /v1/chat/completions"), find("function save_note")
        called = find("POST /tools/{name}")
        if not (door and tool and called):
            return False
        assert (door.service, door.parent) == ("baton-gateway", asked)
        assert (called.service, called.parent) == ("baton-toolsvc", tool.span)
        inside = [one.service for one in collector.of(trace) if one.parent == door.span]
        return "baton-runner" in inside  # the outermost span of a run ends last

    await until(arrived)


async def test_a_request_without_a_trace_begins_one(
    program: httpx.AsyncClient, collector: Collector
) -> None:
    known = {one.trace for one in collector.spans}
    await ask(program)

    async def arrived() -> bool:
        new = {one.trace for one in collector.spans} - known
        return any({one.service for one in collector.of(trace)} == SERVICES for trace in new)

    await until(arrived)


def results(socket: Socket) -> list[str]:
    events = (one["event"] for one in socket.events())
    return [one["content"] for one in events if one["type"] == "TOOL_CALL_RESULT"]


async def test_a_run_of_a_socket_is_one_trace_with_all_it_asks_for_and_its_resumes(
    stack: Stack, ada: Person, collector: Collector
) -> None:
    thread, asked = new_thread_id(), "[[tool=tell {}]] [[tool=send {}]]"
    async with ada.socket() as socket:
        ack = await socket.say(thread, asked, agent="Teller")
        end = (await socket.finished())["event"]
        verdict = {"id": end["outcome"]["interrupts"][0]["id"], "approved": True}
        path = f"/api/runs/{ack['runId']}/approvals"
        decided = await ada.http.post(path, json={"decisions": [verdict]})
        assert decided.status_code == 200, decided.text
        end = (await socket.finished())["event"]
    assert end["outcome"]["type"] == "success"
    told, sent = results(socket)
    ambient, helper = (parsed(one) for one in told.split())
    after = parsed(sent)
    assert ambient == helper is not None is not after
    assert after.trace == helper.trace
    async with httpx.AsyncClient(base_url=str(stack.demo_url), trust_env=False) as http:
        recorded = (await http.get("/_demo/requests")).json()["data"]
    of_models = [one["traceparent"] for one in recorded if asked in str(one["body"])]
    parents = [parsed(one) for one in of_models]
    assert {one.trace if one else None for one in parents} == {helper.trace}

    async def arrived() -> bool:
        spans = {one.span: one for one in collector.of(helper.trace)}
        doors = [one for one in spans.values() if one.name == "run /realtime"]
        wanted = {helper.span, after.span, *(one.span for one in parents if one)}
        if not (doors and wanted <= spans.keys()):
            return False
        (door,) = doors
        assert (door.service, door.parent) == ("baton-gateway", "")
        assert [spans[one].name for one in (helper.span, after.span)] == [
            "function tell",
            "function send",
        ]
        outermost = [one for one in spans.values() if one.parent == door.span]
        return {"baton-runner", "baton-toolsvc"} <= {one.service for one in outermost}

    await until(arrived)


async def test_a_run_of_a_socket_is_part_of_the_trace_that_it_names(
    ada: Person, collector: Collector
) -> None:
    trace, asked = "a" * 31 + "b", "00f067aa0ba902b7"
    async with ada.socket() as socket:
        given = f"00-{trace}-{asked}-01"
        await socket.say(new_thread_id(), "hello", traceparent=given)
        await socket.finished()
        refused = await socket.say(new_thread_id(), "hello", agent="Nobody", traceparent="x")
        assert refused["code"] == "unknown_agent"  # what is no trace is no mistake

    async def arrived() -> bool:
        spans = collector.of(trace)
        doors = [one for one in spans if one.name == "run /realtime"]
        return bool(doors) and doors[0].parent == asked

    await until(arrived)


async def test_metrics_of_every_process_are_sent(collector: Collector) -> None:
    def lacking() -> set[str]:
        return {
            one for one in SERVICES if "baton_http_request_seconds" not in collector.of_service(one)
        }

    async def arrived() -> bool:
        return not lacking()

    with suppress(TimeoutError):
        await until(arrived)
    assert lacking() == set(), {one: sorted(collector.of_service(one)) for one in SERVICES}
