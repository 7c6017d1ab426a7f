"""One trace from a client's request to the runner and to toolsvc, and metrics of all of them."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import httpx
import pytest
import pytest_asyncio

from shared.protocol.ids import new_id
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.collector import Collected, Collector
from tests.scenarios.client import Person
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

SERVICES = {"baton-gateway", "baton-runner", "baton-toolsvc"}
ASKED = '[[tool=save_note {"text": "tea"}]] note it'


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores, collector: Collector) -> AsyncIterator[Stack]:
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_METRIC_EXPORT_INTERVAL": "300",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(demo=True, database_url=url, env=env) as started:
            yield started


@pytest_asyncio.fixture(loop_scope="module")
async def program(stack: Stack) -> AsyncIterator[httpx.AsyncClient]:
    """A client with a key."""
    person = await Person(stack.gateway_urls[0], f"{new_id('ada')}@example.com").sign_in()
    made = await person.http.post("/api/keys", json={"name": "program"})
    await person.http.aclose()
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
