"""README's commands, run as they stand there: in a shell, from the repository's folder.

Only what README itself calls adjustable is adjusted: port, home, and where agents lie.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stack.program import free_port
from stack.scratch import scratch_folder
from tests.docs.pages import ROOT, block, page

README = page("README.md")
AGENT = "src/agents/Pirate/agent.py"
#: The two messages to type, as README has them.
MESSAGES = re.findall(r"^> (.*)$", README, re.MULTILINE)

pytestmark = [pytest.mark.stores, pytest.mark.timeout(240)]


class Machine:
    """A place where README is followed: a home, agents and a person's configuration."""

    def __init__(self, folder: Path) -> None:
        self.home, self.agents = folder / "home", folder / "agents"
        self.port = free_port()
        shutil.copytree(ROOT / "src" / "agents", self.agents)
        self.environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.environ |= {
            "XDG_CONFIG_HOME": str(folder / "config"),
            "BATON_URL": f"http://127.0.0.1:{self.port}",
            "BATON_HOME": str(self.home),
            "BATON_AGENTS_HOME": str(self.agents),
        }

    @contextmanager
    def up(self) -> Iterator[str]:
        """`up` as README starts it; what it has said when it is ready."""
        command = block(README, "run: up").strip()
        assert command == "python3 dev.py up --demo"
        with subprocess.Popen(
            f"exec {command} --port {self.port} --home '{self.home}'",
            shell=True,
            cwd=ROOT,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout
            said = ""
            try:
                for line in process.stdout:
                    said += line
                    if "Ctrl-C" in line:
                        break
                yield said
            finally:
                process.send_signal(signal.SIGINT)
                process.stdout.read()

    def run(self, command: str) -> str:
        """What a command prints; it must end well."""
        command = command.replace("dev.py redis", f"dev.py redis --home '{self.home}'")
        done = subprocess.run(
            command,
            shell=True,
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout


def test_readme_can_be_followed() -> None:
    with scratch_folder() as folder:
        machine = Machine(folder)
        with machine.up() as said:
            assert f"\nready: http://127.0.0.1:{machine.port}" in said
            _use_the_command_line(machine)
            _look_into_redis(machine)
        _add_the_agent(machine)
        with machine.up():
            (command,) = block(README, "run: agent").splitlines()
            assert machine.run(command).strip()
            notes = machine.run('.venv/bin/baton chat --agent Pirate "search notes for gold"')
            assert "buried the gold" in notes
            _call_it_as_a_model(machine)
            threads = machine.run(".venv/bin/baton threads list --json")
            assert threads.count("Assistant") >= 1, "what was said before is still there"


def test_the_two_messages_are_what_the_demo_model_knows() -> None:
    assert MESSAGES == ["hello", "Please set my display name to Ada in my profile"]


def test_the_agent_has_ten_lines_or_so() -> None:
    assert len(block(README, f"file: {AGENT}").splitlines()) <= 10


def test_the_required_python_is_the_declared_one() -> None:
    declared = tomllib.loads(page("pyproject.toml"))["project"]["requires-python"]
    assert f"Python {declared.removeprefix('>=')} or later" in README


def _use_the_command_line(machine: Machine) -> None:
    for line in block(README, "run: cli").splitlines():
        output = machine.run(line)
        assert output.strip(), line
        if "keys create" in line:
            assert output.splitlines()[-1].startswith("bt_")
    name = machine.run(f'.venv/bin/baton chat "{MESSAGES[1]}"')
    assert "Ada" in name


def _look_into_redis(machine: Machine) -> None:
    look, read = block(README, "run: redis").splitlines()
    (stream, *_) = re.findall(r"thread:\{[0-9a-f-]{36}\}:events", machine.run(look))
    entries = machine.run(read.replace("thread:{…}:events", stream))
    assert re.search(r"^\d+-1$", entries, re.MULTILINE)
    assert '"type":"RUN_STARTED"' in entries


def _call_it_as_a_model(machine: Machine) -> None:
    key = machine.run(".venv/bin/baton keys create").splitlines()[-1]
    program = block(README, "run: model").replace(":8000", f":{machine.port}").replace("bt_…", key)
    assert "buried the gold" in machine.run(f".venv/bin/python -c {shlex.quote(program)}")


def _add_the_agent(machine: Machine) -> None:
    file = machine.agents / "Pirate" / "agent.py"
    file.parent.mkdir()
    file.write_text(block(README, f"file: {AGENT}"))
