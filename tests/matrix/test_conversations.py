"""Clients of others, unmodified, before a real stack: `baton matrix`, in small."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from matrix.clients import NODE, python_for
from matrix.kinds import CLIENTS, CONVERSATIONS
from matrix.main import Scene, scene
from stack.node import find_node

pytestmark = [pytest.mark.stores, pytest.mark.asyncio(loop_scope="module")]

IN_SMALL = ("plain", "tools", "approval", "cancel")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    async with scene("responses", tmp_path_factory.mktemp("matrix")) as made:
        yield made


async def assert_held(here: Scene, client: str, *conversations: str) -> None:
    python = python_for(client, here.paid.parent, install=False)
    row = await here.tried(client, python, *conversations)
    assert row.missing is None
    assert {name: cell.why for name, cell in row.found.items()} == dict.fromkeys(conversations)


async def test_curl_holds_all_conversations(here: Scene) -> None:
    await assert_held(here, "curl", *CONVERSATIONS)


@pytest.mark.skipif(find_node(NODE) is None, reason="`npm ci` in matrix/node has not run")
@pytest.mark.parametrize("client", [name for name, kind in CLIENTS.items() if kind.node])
async def test_clients_of_javascript_are_answered_stopped_and_decide(
    here: Scene, client: str
) -> None:
    await assert_held(here, client, *IN_SMALL)


async def test_a_client_that_cannot_begin_says_why(here: Scene, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho \'{"missing": "no such module"}\'\n')
    python.chmod(0o700)
    row = await here.tried("litellm", python)
    assert (row.missing, row.failures) == ("no such module", {})
