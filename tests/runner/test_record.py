"""The runner's client of toolsvc over real connections: what is sent again, and what is not."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio
from aiohttp import web

from runner import record as module
from runner.record import AwayError, Record, RunToken
from shared.errors import BatonError, FencedError
from shared.protocol.codes import Code
from shared.protocol.record import RUNNER_PROOF, Catalogue, ClaimRequest, Commit
from stack.program import free_port

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

SECRET = "what this very runner made"
TOKEN = RunToken("token", 0)


class Toolsvc:
    """A stand-in: answers with what it was given, and keeps what it got."""

    def __init__(self) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self.answers: list[Answer] = []
        self.got: list[tuple[str, str, bytes]] = []
        self.keys: list[str] = []
        self.secrets: list[str | None] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.got.append((request.method, request.path, await request.read()))
        assert request.headers["authorization"].startswith("Bearer ")
        self.keys.append(request.headers["authorization"])
        self.secrets.append(request.headers.get(RUNNER_PROOF))
        return await (self.answers.pop(0) if self.answers else good)(request)


async def good(_: web.Request) -> web.StreamResponse:
    return web.json_response({"cancelled": True})


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport
    request.transport.close()
    return web.Response()


async def half_an_answer(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-length": "100"})
    await response.prepare(request)
    await response.write(b'{"cancelled"')
    assert request.transport
    request.transport.close()
    return response


def refuses(status: int, code: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"code": code, "message": "No."}}, status=status)

    return answer


@pytest_asyncio.fixture
async def toolsvc() -> AsyncIterator[Toolsvc]:
    standin = Toolsvc()
    async with serving(standin):
        yield standin


@asynccontextmanager
async def serving(standin: Toolsvc) -> AsyncIterator[None]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", standin.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(standin.url.rpartition(":")[2])).start()
    yield
    await runner.cleanup()


@pytest_asyncio.fixture
async def record(toolsvc: Toolsvc) -> AsyncIterator[Record]:
    made = Record([toolsvc.url], "key", secret=SECRET)
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0)


@pytest.mark.asyncio
async def test_a_commit_is_sent_as_the_same_bytes_until_it_is_answered(
    toolsvc: Toolsvc, record: Record
) -> None:
    toolsvc.answers = [hangs_up, half_an_answer, refuses(503, "unavailable"), good]
    run = uuid4()

    answer = await record.commit(run, TOKEN, Commit(fence=7, n=1))

    assert answer.cancelled
    assert len(toolsvc.got) == 4
    assert set(toolsvc.got) == {("POST", f"/runs/{run}/steps", orjson.dumps({"fence": 7, "n": 1}))}


@pytest.mark.asyncio
async def test_another_instance_is_asked_when_one_cannot_be_reached(toolsvc: Toolsvc) -> None:
    record = Record([f"http://127.0.0.1:{free_port()}", toolsvc.url], "key", secret=SECRET)
    try:
        assert (await record.commit(uuid4(), TOKEN, Commit(fence=1, n=1))).cancelled
    finally:
        await record.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("answer", [hangs_up, half_an_answer, refuses(503, "unavailable")])
async def test_a_claim_is_sent_once(toolsvc: Toolsvc, record: Record, answer: Answer) -> None:
    toolsvc.answers = [answer]
    with pytest.raises(AwayError):
        await record.claim(ClaimRequest(runner="r", slots=1))
    assert len(toolsvc.got) == 1


@pytest.mark.asyncio
async def test_refusals_are_told_by_their_code(toolsvc: Toolsvc, record: Record) -> None:
    toolsvc.answers = [refuses(409, "fenced"), refuses(400, "bad_input")]
    with pytest.raises(FencedError):
        await record.commit(uuid4(), TOKEN, Commit(fence=1, n=1))
    with pytest.raises(BatonError) as refused:
        await record.commit(uuid4(), TOKEN, Commit(fence=1, n=1))
    assert refused.value.code is Code.BAD_INPUT
    assert len(toolsvc.got) == 2


@pytest.mark.asyncio
async def test_a_call_that_is_one_too_many_waits_for_its_turn(
    toolsvc: Toolsvc, record: Record
) -> None:
    async def done(_: web.Request) -> web.StreamResponse:
        return web.json_response({"result": 7})

    toolsvc.answers = [refuses(429, "rate_limited"), refuses(429, "rate_limited"), done]
    call = record.call_tool("save", {}, token=TOKEN, call_id="c", scope="")
    assert await call == 7
    assert len(toolsvc.got) == 3


@pytest.mark.asyncio
async def test_only_what_concerns_the_runner_itself_carries_its_own_secret(
    toolsvc: Toolsvc, record: Record
) -> None:
    await record.announce("r", Catalogue(agents={}))
    await record.leave("r")
    await record.claim(ClaimRequest(runner="r", slots=1))
    await record.commit(uuid4(), TOKEN, Commit(fence=1, n=1))
    assert toolsvc.secrets == [SECRET, SECRET, None, None]


@pytest.mark.asyncio
async def test_a_token_that_ran_out_while_toolsvc_was_away_is_looked_at_anew(
    toolsvc: Toolsvc, record: Record
) -> None:
    token = RunToken("old", 0)

    async def renews_by_heartbeat(request: web.Request) -> web.StreamResponse:
        token.value = "new"
        return await refuses(401, "not_signed_in")(request)

    toolsvc.answers = [hangs_up, renews_by_heartbeat, good]
    assert (await record.commit(uuid4(), token, Commit(fence=1, n=1))).cancelled
    assert toolsvc.keys == ["Bearer old", "Bearer old", "Bearer new"]


@pytest.mark.asyncio
async def test_a_token_that_nobody_renews_is_refused_in_the_end(
    toolsvc: Toolsvc, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEWAL_S", 0.0)
    toolsvc.answers = [refuses(401, "not_signed_in")] * 3
    with pytest.raises(BatonError) as refused:
        await record.commit(uuid4(), TOKEN, Commit(fence=1, n=1))
    assert refused.value.code is Code.NOT_SIGNED_IN


@pytest.mark.asyncio
async def test_where_one_instance_takes_a_token_for_expired_another_is_asked(
    toolsvc: Toolsvc,
) -> None:
    """Its clock may have jumped; the next heartbeat brings the token to be renewed all the same."""
    other, token = Toolsvc(), RunToken("token", 0)
    toolsvc.answers = [refuses(401, "not_signed_in")]
    async with serving(other):
        record = Record([toolsvc.url, other.url], "key", secret=SECRET)
        try:
            assert (await record.commit(uuid4(), token, Commit(fence=1, n=1))).cancelled
        finally:
            await record.close()
    assert (len(toolsvc.got), len(other.got), token.due) == (1, 1, True)


@pytest.mark.asyncio
async def test_a_wrong_runner_key_is_refused_at_once(toolsvc: Toolsvc, record: Record) -> None:
    toolsvc.answers = [refuses(401, "not_signed_in")]
    with pytest.raises(BatonError):
        await record.announce("r", Catalogue(agents={}))
    assert len(toolsvc.got) == 1
