"""The command line as its own process, at a whole stack."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from stack.program import ROOT
from stack.running import Stack, running_stack
from stack.test_stores import TestStores

pytestmark = [
    pytest.mark.stores,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),  # many processes, each of which has to start
]

SLOW = "[[deltas=40]] [[tokens_per_s=20]]"
#: Long enough for another command to be started meanwhile.
SLOWER = "[[deltas=160]] [[tokens_per_s=20]]"
WORDS = " ".join(f"word{number}" for number in range(1, 41))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack(stores: TestStores) -> AsyncIterator[Stack]:
    with stores.database() as url:
        stores.empty_redis()
        async with running_stack(demo=True, database_url=url) as started:
            yield started


class Person:
    """Somebody at a shell, with a configuration folder of their own."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        self.url = stack.gateway_urls[0]
        self.environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "USER": f"ada-{folder.name[-20:]}",
            "LANG": "C.UTF-8",
            "BATON_URL": self.url,
            "BATON_HOME": str(folder / "home"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def keep_secrets(self, **secrets: str) -> None:
        """Be on the gateway's own machine."""
        path = Path(self.environ["BATON_HOME"]) / "secrets.json"
        path.parent.mkdir()
        path.touch(0o600)
        path.write_text(json.dumps(secrets))

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(
            [sys.executable, "-m", "agent", *arguments],
            cwd=ROOT,
            env=self.environ,
            text=True,
            **pipes | options,
        )

    def run(self, *arguments: str) -> tuple[int, str, str]:
        with self.start(*arguments) as process:
            out, err = process.communicate()
        assert "Traceback" not in err
        return process.returncode, out, err

    def json(self, *arguments: str) -> Any:
        status, out, err = self.run(*arguments, "--json")
        assert status == 0, err
        return json.loads(out)


@pytest.fixture
def ada(tmp_path: Path, stack: Stack) -> Person:
    return Person(tmp_path, stack)


def text_of(lines: list[dict[str, Any]]) -> str:
    return "".join(line["event"].get("delta", "") for line in lines if "event" in line)


async def communicate(process: subprocess.Popen[str]) -> tuple[str, str]:
    return await asyncio.to_thread(process.communicate)


class Screen:
    """What a terminal got to show, without its control sequences."""

    CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._looked = 0
        self.seen = ""

    async def until(self, words: str) -> None:
        """Wait until something new is shown; what was waited for before does not count."""
        while (found := self.seen.find(words, self._looked)) < 0:
            more = await asyncio.to_thread(os.read, self._handle, 65_536)
            self.seen += self.CONTROL.sub("", more.decode("utf-8", "replace"))
        self._looked = found + len(words)

    def type(self, line: str) -> None:
        self.type_raw(f"{line}\n")

    def type_raw(self, keys: str) -> None:
        os.write(self._handle, keys.encode())


@contextmanager
def terminal(person: Person, *arguments: str) -> Iterator[tuple[Screen, subprocess.Popen[str]]]:
    """A command at a terminal of its own, 80 columns wide."""
    ours, theirs = pty.openpty()
    person.environ |= {"TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
    login = {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)}
    try:
        ends = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        with person.start(*arguments, **ends, **login) as process:
            os.close(theirs)
            try:
                yield Screen(ours), process
            finally:
                process.kill()
    finally:
        os.close(ours)


async def test_the_first_word_is_answered_and_everything_can_be_looked_at(ada: Person) -> None:
    status, out, err = ada.run("chat", "hello")
    assert status == 0, err
    assert "demo model" in out

    (thread,) = ada.json("threads")["data"]
    (run,) = ada.json("runs")["data"]
    assert (run["threadId"], run["status"]) == (thread["id"], "finished")

    status, out, _ = ada.run("chat", "do both", "--thread", thread["id"])
    assert status == 0
    messages = ada.json("threads", "show", thread["id"])["data"]
    roles = [message["role"] for message in messages]
    assert roles == ["user", "assistant", "user", "assistant", "tool", "tool", "assistant"]

    newest = ada.json("runs")["data"][0]["id"]
    status, out, _ = ada.run("trace", newest)
    assert status == 0
    for words in ("agent Assistant", "turn 1", "tool current_time", "tool get_profile", "turn 2"):
        assert words in out
    assert ada.run("runs", "show", newest)[0] == 0
    assert ada.run("threads", "rename", thread["id"], "Tides")[0] == 0
    assert ada.json("threads")["data"][0]["title"] == "Tides"
    assert ada.run("threads", "delete", thread["id"], "--yes")[0] == 0
    assert ada.json("threads")["data"] == []


async def test_a_hand_off_and_a_tool_are_seen(ada: Person) -> None:
    assert "⇢ Researcher" in ada.run("chat", "research tidal power")[2]
    err = ada.run("chat", "Please set my display name to Ada in my profile")[2]
    assert '▸ update_profile display_name="Ada"' in err


async def test_a_run_is_verified_here_and_as_a_file(ada: Person, tmp_path: Path) -> None:
    ada.run("chat", "hello")
    run = ada.json("runs", "list")["data"][0]["id"]
    status, out, _ = ada.run("verify", run)
    assert (status, "(trusted)" in out) == (0, True)
    file = tmp_path / "run.ndjson"
    assert ada.run("runs", "export", run, "-o", str(file))[0] == 0
    assert ada.json("verify", str(file), "--keys", ada.url)["trusted"] is True
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    status, out, _ = ada.run("verify", str(file))
    assert (status, "missing before line 3" in out) == (1, True)
    assert ada.run("verify", "run_of_nobody")[0] == 1


async def test_a_failed_run_ends_with_one_and_a_sentence(ada: Person) -> None:
    status, _, err = ada.run("chat", "hello [[fault=401]]")
    assert status == 1
    assert "refused our key" in err
    failed = ada.json("runs", "list", "--status", "failed")["data"]
    assert failed[0]["error"]["code"] == "upstream_auth"


async def test_status_shows_the_runner_and_its_agents(ada: Person) -> None:
    found = ada.json("status")
    assert found["leases"] == 1
    assert "Assistant" in ada.run("status")[1]
    assert [agent["name"] for agent in ada.json("agents")["data"]] == ["Assistant"]


async def test_a_key_is_made_used_and_revoked(ada: Person) -> None:
    status, out, _ = ada.run("keys", "create", "--email", "eve@example.com", "--expires-days", "1")
    key = out.splitlines()[-1]
    assert status == 0
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=ada.url, headers=headers, trust_env=False) as http:
        assert (await http.get("/api/me")).json()["email"] == "eve@example.com"

        ada.environ["BATON_API_KEY"] = key
        assert ada.run("chat", "hello")[0] == 0
        assert ada.run("keys", "revoke", key)[0] == 0
        assert (await http.get("/api/me")).status_code == 401
    status, out, err = ada.run("chat", "hello")
    assert status == 1
    assert "baton login" in err
    assert key not in out + err


async def test_on_the_machine_itself_the_operator_invites(ada: Person, stack: Stack) -> None:
    status, _, err = ada.run("invite", "bob@example.com")
    assert status == 1
    assert "Only admins" in err

    key = stack.secrets.operator_key
    ada.keep_secrets(operator_key=key)
    status, out, err = ada.run("invite", "bob@example.com")
    assert status == 0
    assert key not in out + err
    link = out.splitlines()[-1]
    assert link.startswith(f"{ada.url}/auth/invite#")
    async with httpx.AsyncClient(base_url=ada.url, trust_env=False) as http:
        body = {"token": link.partition("#")[2]}
        assert (await http.post("/auth/invite", json=body)).json()["email"] == "bob@example.com"
        assert (await http.post("/auth/invite", json=body)).status_code == 404


async def test_a_run_is_watched_from_any_cursor(ada: Person) -> None:
    with ada.start("chat", SLOW, "--json") as chat:
        assert chat.stdout is not None
        first = json.loads(chat.stdout.readline())
        run = first["event"]["runId"]
        whole = ada.run("runs", "tail", run, "--json")
        rest, _ = chat.communicate()
    lines = [first, *map(json.loads, rest.splitlines())]
    tailed = [json.loads(line) for line in whole[1].splitlines()]
    assert whole[0] == 0
    assert text_of(lines) == text_of(tailed) == WORDS
    assert (tailed[0]["id"], tailed[-1]["id"]) == (lines[0]["id"], lines[-1]["id"])

    after = tailed[-2]["id"]
    status, out, _ = ada.run("runs", "tail", run, "--after", after, "--json")
    assert (status, [json.loads(out)]) == (0, tailed[-1:])
    status, _, err = ada.run("runs", "tail", run, "--after", "99-1")
    assert status == 1
    assert "cursor" in err


async def test_ctrl_c_stops_the_run_on_the_server(ada: Person) -> None:
    with ada.start("chat", SLOW) as chat:
        assert chat.stdout is not None
        assert chat.stdout.read(5) == "word1"
        chat.send_signal(signal.SIGINT)
        _, err = chat.communicate()
    assert chat.returncode == 130
    assert "stopped" in err
    assert ada.json("runs")["data"][0]["status"] == "cancelled"


async def test_leaving_a_tail_leaves_the_run_alone(ada: Person) -> None:
    with ada.start("chat", SLOWER, "--json") as chat:
        assert chat.stdout is not None
        run = json.loads(chat.stdout.readline())["event"]["runId"]
        with ada.start("runs", "tail", run) as tail:
            assert tail.stdout is not None
            assert tail.stdout.read(5) == "word1"
            tail.send_signal(signal.SIGINT)
            _, err = tail.communicate()
        assert tail.returncode == 130
        assert f"baton runs tail {run} --after" in err
        chat.communicate()
    assert chat.returncode == 0


async def test_a_run_is_cancelled_from_elsewhere(ada: Person) -> None:
    with ada.start("chat", SLOWER, "--json") as chat:
        assert chat.stdout is not None
        run = json.loads(chat.stdout.readline())["event"]["runId"]
        assert "is being stopped" in ada.run("runs", "cancel", run)[1]
        chat.communicate()
    assert chat.returncode == 1
    assert "ended already" in ada.run("runs", "cancel", run)[1]


async def test_a_gateway_that_dies_is_not_noticed_in_the_answer(ada: Person, stack: Stack) -> None:
    with ada.start("chat", SLOW) as chat:
        assert chat.stdout is not None
        # From the pipe itself: what a reader keeps for later, `communicate` does not know of.
        begun = os.read(chat.stdout.fileno(), 65_536).decode()
        stack.processes["gateway-1"].kill(signal.SIGKILL)
        # Its replacement is started by the stack's own loop, which must not be blocked meanwhile.
        rest, err = await communicate(chat)
    assert chat.returncode == 0, err
    assert begun + rest == f"{WORDS}\n", "standard output holds the answer and nothing else"
    assert "connection lost" in err


async def test_a_conversation_at_a_terminal(ada: Person) -> None:
    with terminal(ada, "chat") as (screen, chat):
        await screen.until("> ")
        screen.type("research tidal power")
        await screen.until("done")
        await screen.until("> ")
        screen.type(SLOW)
        await screen.until("word5 ")
        screen.type_raw("\x03")
        await screen.until("stopped")
        await screen.until("> ")
        screen.type("/quit")
        await screen.until("Go on later: baton chat --thread thr_")
        await asyncio.to_thread(chat.wait)
    assert chat.returncode == 0
    seen = screen.seen
    assert "The user wants to know about tidal power." in seen
    answer = seen[seen.index("Here is what") :].split("done")[0]
    assert all(len(line) <= 80 for line in answer.splitlines())
    assert "scripted researcher" in " ".join(answer.split())
