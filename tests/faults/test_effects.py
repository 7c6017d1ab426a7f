"""Effects under faults: real toolsvcs that die, freeze and lose Postgres in the middle of a tool.

Nobody waits for leases here: SQL says that they have ended.
"""

import asyncio
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
import pytest_asyncio

from shared.protocol.ids import new_thread_id, uuid7
from shared.tokens import RunClaims, mint_run_token
from stack.running import Stack, running_stack
from stack.test_stores import TestStores
from tests.gateway.proxy import Proxy, proxy_to
from tests.scenarios.client import TERMINAL, Person, Socket
from tests.until import until

pytestmark = [pytest.mark.stores, pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

TOOLS = Path(__file__).parent / "tools"
LOCAL = "127.0.0.1"
UNSURE = "UPDATE effects SET executor_until = now() - interval '1 s' WHERE status = 'claimed'"
_PERSON = "INSERT INTO users (id, email, admin) VALUES (%(user)s, %(id)s, false)"
_THREAD = """
    INSERT INTO threads (id, user_id, public_id, agent, fence)
    VALUES (%(thread)s, %(user)s, %(id)s, 'Nobody', 1)
"""
_RUN = """
    INSERT INTO runs (id, public_id, user_id, thread_id, root_id, agent, status, ready, priority,
        input, input_digest, fence, commits)
    VALUES (%(run)s, %(id)s, %(user)s, %(thread)s, %(run)s, 'Nobody', 'running', true, 0,
        '{}', '', 1, 0)
"""


@dataclass
class Scene:
    """A stack whose Postgres is behind a proxy, and a way to SQL around it."""

    stack: Stack
    postgres: Proxy
    url: str

    async def sql(self, statement: str, **values: Any) -> list[Any]:
        async with await psycopg.AsyncConnection.connect(self.url) as db:
            found = await db.execute(statement.encode(), values)
            return await found.fetchall() if found.description else []

    async def run(self) -> "Call":
        """A run that goes on, as far as toolsvc can see; its token."""
        run = uuid7()
        claims = RunClaims(
            run=run,
            root=run,
            thread=uuid7(),
            user=uuid7(),
            fence=1,
            tools=None,
            scopes=("test:strike", "notes:write"),
            project=None,
            public_run=f"run_{run.hex}",
            public_thread=f"thr_{run.hex}",
            agent="Nobody",
        )
        values = {"run": run, "thread": claims.thread, "user": claims.user, "id": run.hex}
        for statement in (_PERSON, _THREAD, _RUN):
            await self.sql(statement, **values)
        token = mint_run_token(self.stack.secrets.run_token_key, claims)
        return Call(self, claims, token)


@dataclass
class Call:
    """One call of a tool in a run, which may be asked for at any toolsvc."""

    scene: Scene
    claims: RunClaims
    token: str

    async def ask(
        self, toolsvc: int, name: str, arguments: dict[str, Any], http: httpx.AsyncClient
    ) -> httpx.Response:
        url = self.scene.stack.toolsvc_urls[toolsvc - 1]
        headers = {"authorization": f"Bearer {self.token}", "idempotency-key": "call_1"}
        body = {"arguments": arguments}
        return await http.post(f"{url}/tools/{name}", json=body, headers=headers)

    async def row(self) -> Any:
        (row,) = await self.scene.sql(
            "SELECT status, executor, result, key FROM effects WHERE root_id = %(run)s",
            run=self.claims.run,
        )
        return row


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(stores: TestStores) -> AsyncIterator[Scene]:
    with stores.database() as url:
        stores.empty_redis()
        parts = urlsplit(url)
        async with proxy_to(parts.hostname or "", parts.port or 5432) as postgres:
            user = parts.netloc.rpartition("@")[0]
            around = parts._replace(netloc=f"{user}@{LOCAL}:{postgres.port}").geturl()
            env = {"BATON_TOOLS_DIR": str(TOOLS), "BATON_AGENTS_HOME": str(TOOLS.parent / "agents")}
            async with running_stack(toolsvc=2, demo=True, database_url=around, env=env) as stack:
                yield Scene(stack, postgres, url)


@pytest_asyncio.fixture(loop_scope="module")
async def http() -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=60, trust_env=False, limits=limits) as client:
        yield client


@pytest.fixture
def field(tmp_path: Path) -> Path:
    """Where strikes are counted."""
    tmp_path.chmod(0o755)
    return tmp_path


def strikes(field: Path) -> list[list[str]]:
    file = field / "strikes"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


async def struck(field: Path, times: int = 1) -> None:
    async def enough() -> bool:
        return len(strikes(field)) >= times

    await until(enough)


@pytest.mark.parametrize("name", ["strike", "save_note"])
async def test_fifty_equal_calls_at_two_toolsvcs_have_one_effect(
    scene: Scene, http: httpx.AsyncClient, field: Path, name: str
) -> None:
    (field / "go").touch()
    call = await scene.run()
    arguments = {"folder": str(field)} if name == "strike" else {"text": "milk"}
    answers = await asyncio.gather(
        *(call.ask(1 + number % 2, name, arguments, http) for number in range(50))
    )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    notes = await scene.sql("SELECT 1 FROM notes WHERE user_id = %(user)s", user=call.claims.user)
    assert len(strikes(field)) + len(notes) == 1
    assert (await call.row())[0] == "done"


async def kill_in_mid_effect(
    scene: Scene, call: Call, name: str, http: httpx.AsyncClient, field: Path
) -> None:
    asked = asyncio.create_task(call.ask(1, name, {"folder": str(field)}, http))
    await struck(field)
    victim = scene.stack.processes["toolsvc-1"]
    assert str(victim.pid) == strikes(field)[0][0]
    victim.kill(signal.SIGKILL)
    with pytest.raises(httpx.TransportError):
        await asked
    await victim.ready()
    await scene.sql(UNSURE)
    (field / "go").touch()


async def test_what_its_dead_executor_began_is_never_run_again(
    scene: Scene, http: httpx.AsyncClient, field: Path
) -> None:
    call = await scene.run()
    await kill_in_mid_effect(scene, call, "strike", http, field)
    answers = await asyncio.gather(
        *(call.ask(1 + number % 2, "strike", {"folder": str(field)}, http) for number in range(10))
    )
    assert {answer.status_code for answer in answers} == {409}
    assert {answer.json()["error"]["code"] for answer in answers} == {"tool_outcome_unknown"}
    assert len(strikes(field)) == 1
    assert (await call.row())[0] == "unknown"


async def test_an_idempotent_one_is_run_again_once_under_the_same_key(
    scene: Scene, http: httpx.AsyncClient, field: Path
) -> None:
    call = await scene.run()
    await kill_in_mid_effect(scene, call, "strike_again", http, field)
    given = {"folder": str(field)}
    answers = await asyncio.gather(
        *(call.ask(1 + number % 2, "strike_again", given, http) for number in range(10))
    )
    assert len({answer.text for answer in answers}) == 1
    assert len(strikes(field)) == 2
    assert len({key for _, key in strikes(field)}) == 1
    assert (await call.row())[0] == "done"


async def freeze_in_mid_effect(
    scene: Scene, call: Call, name: str, http: httpx.AsyncClient, field: Path
) -> "asyncio.Task[httpx.Response]":
    asked = asyncio.create_task(call.ask(1, name, {"folder": str(field)}, http))
    await struck(field)
    scene.stack.processes["toolsvc-1"].kill(signal.SIGSTOP)
    await scene.sql(UNSURE)
    return asked


async def test_an_executor_that_wakes_up_settles_what_nobody_took_over(
    scene: Scene, http: httpx.AsyncClient, field: Path
) -> None:
    call, given = await scene.run(), {"folder": str(field)}
    asked = await freeze_in_mid_effect(scene, call, "strike", http, field)
    try:
        assert (await call.ask(2, "strike", given, http)).status_code == 409
        assert (await call.row())[0] == "unknown"
        (field / "go").touch()
    finally:
        scene.stack.processes["toolsvc-1"].kill(signal.SIGCONT)
    woken = await asked
    assert woken.status_code == 200
    assert (await call.ask(2, "strike", given, http)).json() == woken.json()
    assert len(strikes(field)) == 1


async def test_an_executor_that_was_overtaken_says_what_its_successor_did(
    scene: Scene, http: httpx.AsyncClient, field: Path
) -> None:
    call, given = await scene.run(), {"folder": str(field)}
    asked = await freeze_in_mid_effect(scene, call, "strike_again", http, field)
    try:
        (field / "go").touch()
        successors = await call.ask(2, "strike_again", given, http)
    finally:
        scene.stack.processes["toolsvc-1"].kill(signal.SIGCONT)
    pid = scene.stack.processes["toolsvc-2"].pid
    assert successors.json() == {"result": f"struck by {pid}"}
    assert (await asked).json() == successors.json()
    assert [int(one) for one, _ in strikes(field)][1:] == [pid]
    assert (await call.row())[2] == f'"struck by {pid}"'


@pytest.mark.parametrize("how", ["pause", "cut"])
async def test_an_outcome_is_stored_over_an_absence_of_postgres(
    scene: Scene, http: httpx.AsyncClient, field: Path, how: str
) -> None:
    call, given = await scene.run(), {"folder": str(field)}
    asked = asyncio.create_task(call.ask(1, "strike", given, http))
    await struck(field)
    scene.postgres.block()
    if how == "cut":
        scene.postgres.cut()
    (field / "go").touch()
    repeat = asyncio.create_task(call.ask(1, "strike", given, http))
    await asyncio.wait({asked, repeat}, timeout=1)
    assert not asked.done()
    scene.postgres.unblock()
    assert (await asked).status_code == 200
    while (again := await repeat).status_code == 503:
        repeat = asyncio.create_task(call.ask(2, "strike", given, http))
    assert again.json() == (await asked).json()
    assert len(strikes(field)) == 1
    assert (await call.row())[0] == "done"


async def stuck(scene: Scene, socket: Socket, thread: str, field: Path) -> str:
    """A run that has ended for want of an outcome, and waits for a person; its id."""
    text = f'[[tool=strike {{"folder":"{field}"}}]]'
    run = await socket.say(thread, text, agent="Striker")
    await struck(field)
    pid = strikes(field)[0][0]
    victim = next(one for one in scene.stack.processes.values() if one.pid and str(one.pid) == pid)
    victim.kill(signal.SIGKILL)
    await victim.ready()
    await scene.sql(UNSURE)
    error = (await socket.finished())["event"]
    assert (error["type"], error["code"]) == ("RUN_ERROR", "tool_outcome_unknown")
    (field / "go").touch()
    return str(run["runId"])


async def settled(scene: Scene, field: Path, said: dict[str, Any]) -> str:
    """An operator says what became of the call; the run that goes on."""
    operator = {"authorization": f"Bearer {scene.stack.secrets.operator_key}"}
    url, key = scene.stack.gateway_urls[0], strikes(field)[0][1]
    async with httpx.AsyncClient(base_url=url, headers=operator, trust_env=False) as http:
        answer = await http.post(f"/api/effects/{key}/settle", json=said)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["resumedBy"])


async def test_cancelled_while_it_waits_for_a_person_it_stays_as_it_ended(
    scene: Scene, field: Path
) -> None:
    """So it can still be gone on with; what goes on is cancelled like any other."""
    person = await Person(scene.stack.gateway_urls[0], f"{uuid7().hex}@example.com").sign_in()
    thread = new_thread_id()
    async with person.socket() as socket:
        run = await stuck(scene, socket, thread, field)
        before = await person.get(f"/api/runs/{run}")
        for _ in range(2):
            sent = await socket.send(op="cancel", threadId=thread, runId=run)
            assert (await socket.answer(sent))["op"] == "ack"
        assert await person.get(f"/api/runs/{run}") == before
        following = await settled(scene, field, {"outcome": "done", "result": "by hand"})
        assert (await socket.finished())["event"]["type"] == "RUN_FINISHED"
    ended = [one["event"]["type"] for one in socket.events() if one["event"]["type"] in TERMINAL]
    assert ended == ["RUN_ERROR", "RUN_FINISHED"]
    assert (await person.get(f"/api/runs/{following}"))["status"] == "finished"
    assert len(strikes(field)) == 1
    await person.http.aclose()


@pytest.mark.parametrize(
    ("said", "told", "strikes_in_all"),
    [
        ({"outcome": "done", "result": "by hand"}, "by hand", 1),
        ({"outcome": "retry"}, "struck by", 2),
        ({"outcome": "failed", "message": "The stone broke."}, "The stone broke.", 1),
    ],
    ids=lambda said: said["outcome"] if isinstance(said, dict) else "",
)
async def test_the_run_goes_on_when_a_person_has_settled_it(
    scene: Scene, field: Path, said: dict[str, Any], told: str, strikes_in_all: int
) -> None:
    person = await Person(scene.stack.gateway_urls[0], f"{uuid7().hex}@example.com").sign_in()
    async with person.socket() as socket:
        await stuck(scene, socket, new_thread_id(), field)
        following = await settled(scene, field, said)
        end = (await socket.finished())["event"]
    begun = [one["event"] for one in socket.events() if one["event"]["type"] == "RUN_STARTED"]
    assert begun[-1]["runId"] == following
    if said["outcome"] == "failed":
        assert (end["type"], end["message"]) == ("RUN_ERROR", told)
    else:
        assert end["type"] == "RUN_FINISHED"
        results = [
            frame["event"]["content"]
            for frame in socket.events()
            if frame["event"]["type"] == "TOOL_CALL_RESULT"
        ]
        assert [told in result for result in results] == [True]
    assert len(strikes(field)) == strikes_in_all
    await person.http.aclose()
