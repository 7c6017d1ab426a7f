"""The stack that end-to-end tests are given, with the real services."""

import httpx
import pytest

from stack.running import running_stack

pytestmark = [pytest.mark.asyncio, pytest.mark.stores, pytest.mark.timeout(180)]


async def test_a_whole_stack_starts_recovers_and_stops(database_url: str) -> None:
    async with (
        running_stack(gateways=2, database_url=database_url) as stack,
        httpx.AsyncClient(trust_env=False) as client,
    ):
        assert stack.database_url == database_url
        for url in (*stack.gateway_urls, *stack.toolsvc_urls, *stack.runner_urls):
            assert (await client.get(f"{url}/readyz")).status_code == 200
        assert (await client.get(f"{stack.demo_url}/healthz")).status_code == 200

        for name in ("gateway-2", "runner-1", "toolsvc-1"):
            child = stack.processes[name]
            before = child.pid
            child.kill()
            await child.dead()
            await child.ready()
            assert child.pid != before
        processes = stack.processes.values()
    assert [child.pid for child in processes] == [None] * len(processes)


async def test_what_the_services_print_is_shown_at_the_end(
    database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running_stack(runners=0, toolsvc=1, database_url=database_url):
        pass
    assert "gateway-1 |" in capsys.readouterr().err
