"""`dev.py up` with stand-ins for the services and real stores, started as people start it."""

import itertools
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stack.home import Home, Running
from stack.program import free_port
from stack.running import MARK
from stack.scratch import scratch_folder
from tests.docs.pages import block, page

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.stores, pytest.mark.timeout(180)]


class Up:
    """One `up` in a tree of its own."""

    def __init__(self, tree: Path, *arguments: str, **environ: str) -> None:
        self.tree = tree
        self.port = free_port()
        named = dict(itertools.pairwise(arguments)).get("--home", ".baton")
        self.home = Home(tree / named)
        self.output = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "stack", "up", "--port", str(self.port), *arguments],
            cwd=tree,
            env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"} | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, pattern: str) -> str:
        """Read on until a line matches."""
        assert self.process.stdout
        for line in self.process.stdout:
            self.output += line
            if re.search(pattern, line):
                return line
        raise AssertionError(f"{pattern!r} was never said:\n{self.output}")

    def ready(self) -> "Up":
        self.until(r"^  stop ")
        return self

    def ended(self) -> int:
        """Read to the end; the exit status."""
        assert self.process.stdout
        self.output += self.process.stdout.read()
        return self.process.wait(60)

    def running(self) -> Running:
        running = self.home.running()
        assert running
        return running

    def get(self, path: str, number: int = 0) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port + number}{path}") as answer:
            return str(answer.read().decode())

    def pid(self, name: str) -> int:
        return self.running().processes[name].pid

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.ended()
        assert self.process.stdout
        self.process.stdout.close()


Start = Callable[..., Up]


@pytest.fixture
def start() -> Iterator[Start]:
    begun: list[Up] = []
    with scratch_folder() as tree:
        for name in ("stack", "shared"):
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        (tree / "src" / "agents").mkdir(parents=True)
        shutil.copy(Path(__file__).parent / "standins" / "service.py", tree / "standin.py")
        for name in ("gateway", "runner", "toolsvc"):
            (tree / name).mkdir()
            (tree / name / "__init__.py").touch()
            (tree / name / "__main__.py").write_text(f"from standin import main\nmain({name!r})\n")

        def one(*arguments: str, **environ: str) -> Up:
            begun.append(Up(tree, *arguments, **environ))
            return begun[-1]

        yield one
        for up in begun:
            up.close()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie, whom nobody has waited for yet, does not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def eventually(fact: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_whole_story(start: Start) -> None:
    up = start("--demo", "--gateways", "2").ready()
    assert f"ready: http://127.0.0.1:{up.port}  http://127.0.0.1:{up.port + 1}" in up.output
    assert "baton chat" in up.output
    assert "redis://reader:" in up.output
    assert set(up.running().processes) == {
        *("valkey", "postgres", "demo", "toolsvc-1", "runner-1", "gateway-1", "gateway-2")
    }
    env = json.loads(up.get("/env", 1))
    assert env["BATON_DEV_MODE"] == "true"
    assert env["BATON_SUPERVISED"] == "true"
    assert "BATON_RUN_TOKEN_KEY" not in env

    up.process.send_signal(signal.SIGINT)
    assert up.ended() == 0
    ends = re.findall(r"\| (\w+) ends$", up.output, re.MULTILINE)
    assert ends == ["gateway", "gateway", "runner", "toolsvc"]
    assert up.home.running() is None

    again = start("--demo").ready()
    assert "listens" in again.output


def test_the_redis_command_finds_the_running_server(start: Start) -> None:
    up = start("--demo").ready()

    def redis(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "stack", "redis", *words],
            cwd=up.tree,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout + done.stderr

    assert "NOPERM" in redis("XADD", "runs", "1-1", "run", "r")
    assert redis("--admin", "XADD", "runs", "1-1", "run", "r") == "1-1\n"
    assert redis("XRANGE", "runs", "-", "+") == "1-1\nrun\nr\n"


def test_what_dies_is_started_again_and_the_stack_goes_on(start: Start) -> None:
    up = start("--demo").ready()
    for name in ("runner-1", "gateway-1", "valkey", "postgres"):
        before = up.pid(name)
        os.kill(before, signal.SIGKILL)
        up.until(rf"{name} \| was ended by SIGKILL; started again")
        wait_for_another(up, name, before)


def wait_for_another(up: Up, name: str, before: int) -> None:
    eventually(lambda: up.pid(name) != before and alive(up.pid(name)))


def test_five_deaths_within_a_minute_stop_the_stack(start: Start) -> None:
    up = start("--demo").ready()
    before = 0
    for _ in range(5):
        wait_for_another(up, "gateway-1", before)
        before = up.pid("gateway-1")
        os.kill(before, signal.SIGKILL)
    assert up.ended() == 1
    assert "gateway-1 was ended by SIGKILL for the 5th time within a minute. Stopping." in up.output


def test_a_killed_supervisor_leaves_no_process(start: Start) -> None:
    up = start("--demo").ready()
    pids = [each.pid for each in up.running().processes.values()]
    assert len(pids) == 6
    up.process.kill()
    eventually(lambda: not any(map(alive, pids)))
    up.process.wait()
    start("--demo").ready()


def test_a_second_interrupt_ends_everything_at_once(start: Start) -> None:
    up = start("--demo").ready()
    os.kill(up.pid("runner-1"), signal.SIGSTOP)
    pids = [each.pid for each in up.running().processes.values()]
    gateway = up.pid("gateway-1")
    os.kill(gateway, signal.SIGSTOP)
    up.process.send_signal(signal.SIGINT)
    up.until("Stopping")
    up.process.send_signal(signal.SIGINT)
    assert up.ended() == 0
    assert not any(map(alive, pids))


def test_a_second_up_on_the_same_home_is_refused(start: Start) -> None:
    up = start("--demo").ready()
    other = start("--demo")
    assert other.ended() == 1
    assert "in use by another `dev.py up`" in other.output
    assert up.process.poll() is None


def test_a_taken_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        up = start("--demo", "--port", str(port))
        assert up.ended() == 1
    assert f"port {port} is taken" in up.output
    assert "--port" in up.output


def test_without_a_model_server_the_demo_is_offered(start: Start) -> None:
    up = start()
    assert up.ended() == 2
    assert "--demo" in up.output


def test_a_model_server_that_a_file_alone_names_is_used_as_it_is(
    start: Start, tmp_path: Path
) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("providers: {local: {base_url: 'http://127.0.0.1:1234/v1'}}")
    up = start("--home", ".else where", BATON_MODELS_CONFIG=str(file)).ready()
    assert "demo" not in up.running().processes
    # Where commands for admins find their key.
    assert "BATON_HOME='.else where' .venv/bin/baton chat" in up.output


def test_a_wrong_setting_is_named_before_anything_starts(start: Start) -> None:
    up = start("--demo", BATON_LOG_LEVEL="LOUD")
    assert up.ended() == 2
    assert "Wrong setting: BATON_LOG_LEVEL" in up.output
    assert "Starting" not in up.output


def test_stores_of_ones_own_replace_the_embedded_ones(
    start: Start, database_url: str, redis_url: str
) -> None:
    up = start("--demo", DATABASE_URL=database_url, REDIS_URL=redis_url).ready()
    assert not {"valkey", "postgres"} & set(up.running().processes)
    env = json.loads(up.get("/env"))
    assert (env["DATABASE_URL"], env["REDIS_URL"]) == (database_url, redis_url)


def test_a_backup_is_restored_as_the_docs_say_with_the_stores_alone(start: Start) -> None:
    up = start("--stores-only").ready()
    assert set(up.running().processes) == {"valkey", "postgres"}
    (exported,) = re.findall(r"^  shell    (export DATABASE_URL=.*)$", up.output, re.MULTILINE)

    def sh(commands: str) -> str:
        commands = commands.replace(".venv/bin/python", "$PYTHON")
        commands = commands.replace("python3 dev.py", "$PYTHON -m stack")
        done = subprocess.run(
            ["sh", "-ec", f"{exported}\n{commands}"],
            cwd=up.tree,
            env={"PATH": os.environ["PATH"], "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    docs = page("docs/operations.md")
    person = (
        "INSERT INTO users (id, email, admin) VALUES (gen_random_uuid(), 'ada@example.com', false)"
    )
    sh(f'psql "$DATABASE_URL" -c "{person}"')
    sh(block(docs, "run: backup"))
    sh('psql "$DATABASE_URL" -c "DELETE FROM users"')
    sh("python3 dev.py redis --admin XADD runs 1-1 run r")
    sh(block(docs, "run: restore"))
    sh("python3 dev.py redis --admin FLUSHALL")
    assert "ada@example.com" in sh('psql "$DATABASE_URL" -c "SELECT email FROM users"')
    assert sh("python3 dev.py redis XLEN runs") == "0\n"
    assert not (up.home.path / "postgres" / MARK).exists(), "what was restored may lack migrations"
    up.close()
    start("--demo").ready()


def test_stores_only_needs_stores_of_its_own(start: Start) -> None:
    up = start("--stores-only", DATABASE_URL="postgresql://x/y", REDIS_URL="redis://x")
    assert up.ended() == 2
    assert "both stores are others'" in up.output


def test_lost_secrets_beside_data_are_not_made_anew(start: Start) -> None:
    up = start("--demo").ready()
    up.close()
    (up.home.path / "secrets.json").unlink()
    other = start("--demo")
    assert other.ended() == 1
    assert "restore" in other.output


@pytest.mark.parametrize(
    "arguments", [("--port", "x"), ("--port", "0"), ("--runners", "0"), ("--gateways", "99")]
)
def test_numbers_out_of_range_are_refused(start: Start, arguments: tuple[str, str]) -> None:
    up = start("--demo", *arguments)
    assert up.ended() == 2
    assert "is not a number from" in up.output
