"""Whatever an agent's file does while it is imported, it does to a process made for that alone."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.drop_ins.inspection import Order, Report
from stack.program import ROOT

GOOD = "from agents import Agent\nagent = Agent(name='One', handoff_description='Helps.')\n"

#: As a runner has it, with tighter limits.
INSPECTOR = """
import os, socket
from runner.drop_ins.inspection import Limits, adopt_orphans, hide_secrets
from runner.drop_ins.inspector import serve_inspections
hide_secrets(os.environ)
adopt_orphans()
serve_inspections(socket.socket(fileno=0), Limits(within_s=5, memory_bytes=1 << 28))
"""


class Asked:
    """An inspector, and what it answers."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        environ = os.environ | {"MY_API_KEY": "sk-not-for-you", "BATON_RUNNER_KEY": "x" * 40}
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", INSPECTOR], stdin=theirs.fileno(), cwd=ROOT, env=environ
            )
        self._socket = ours
        self._answers = ours.makefile("rb")

    def about(self, folder: Path, code: str, **tools: dict[str, object]) -> Report:
        file = folder / "One" / "agent.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
        order = Order(name="One", file=file, root=folder, tools=tools)
        self._socket.sendall(order.model_dump_json().encode() + b"\n")
        return Report.model_validate_json(self._answers.readline())

    def close(self) -> int:
        self._answers.close()
        self._socket.close()
        return int(self.process.wait(60))


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    inspector = Asked()
    yield inspector
    assert inspector.close() == 0


def test_a_good_agent_is_described(asked: Asked, tmp_path: Path) -> None:
    report = asked.about(tmp_path, GOOD)
    assert report.reason is None
    assert report.about is not None
    assert (report.about["description"], len(report.digest or "")) == ("Helps.", 64)


BAD = {
    "import sys\nsys.exit(3)": "agent.py:2: SystemExit: 3",
    "import os\nos._exit(0)": "ended the process (exit status 0)",
    "import os\nos.abort()": "ended the process (SIGABRT)",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)": "ended the process (SIGKILL)",
    "import os\nos.kill(os.getppid(), 9)": "may not use os.kill",
    "import os\nos.killpg(os.getpgid(os.getppid()), 9)": "may not use os.killpg",
    "import os\nwhile True: os.fork()": "may not use os.fork",
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)": "ValueError: signal only works",
    "while True: pass": "did not end within 5 s",
    "x = bytearray(2 << 30)": "agent.py:1: MemoryError",
    "import subprocess\nsubprocess.Popen(['sleep', '1000'])\n1 / 0": "ZeroDivisionError",
    "import nothing_like_this": "pip install nothing_like_this",
    "agent = ": "agent.py:1: SyntaxError",
    "": "has no `agent`",
    GOOD + "import json\nprint(json.dumps('x' * 99))\nraise KeyError('\\0 \\ud800')": "KeyError",
}


@pytest.mark.parametrize("code", BAD)
def test_what_a_bad_file_does_harms_nobody_and_is_told(
    asked: Asked, tmp_path: Path, code: str
) -> None:
    report = asked.about(tmp_path, code)
    assert report.about is None
    assert BAD[code] in (report.reason or "")
    assert asked.process.poll() is None


@pytest.mark.parametrize(
    "code",
    [
        "raise RuntimeError('sk-proj-0123456789abcdef ' + 'x' * 3_000_000)",
        "KEY = 'sk-proj-0123456789abcdef'; raise RuntimeError('x')  # " + "x" * 3_000_000,
        "KEY = 'sk-proj-0123456789abcdef' +  # " + "x" * 3_000_000,
    ],
    ids=lambda code: code[:30],
)
def test_a_reason_is_short_and_without_secrets(asked: Asked, tmp_path: Path, code: str) -> None:
    reason = asked.about(tmp_path, code).reason or ""
    assert "agent.py:1: " in reason
    assert len(reason) < 11_000
    assert "sk-proj" not in reason


def test_what_an_agent_says_of_itself_is_cut_short(asked: Asked, tmp_path: Path) -> None:
    code = (
        "from agents import Agent\n"
        "others = [Agent(name='y' * 999) for _ in range(200)]\n"
        "agent = Agent(name='One', handoff_description='x' * 9999, handoffs=others)\n"
    )
    about = asked.about(tmp_path, code).about
    assert about is not None
    assert about["description"] == "x" * 2000
    assert about["capabilities"]["multiAgent"]["subAgents"] == [{"name": "y" * 128}] * 100


def test_what_it_started_ends_with_it(asked: Asked, tmp_path: Path) -> None:
    started = (
        "import subprocess, pathlib\n"
        "p = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(p.pid))\n"
    )
    assert asked.about(tmp_path, started + GOOD).reason is None
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_no_secret_is_in_its_environment(asked: Asked, tmp_path: Path) -> None:
    report = asked.about(
        tmp_path,
        "import json, os\nfrom agents import Agent\n"
        "named = [os.environ.get(one) for one in ('MY_API_KEY', 'BATON_RUNNER_KEY', 'PATH')]\n"
        "agent = Agent(name='x', handoff_description=json.dumps(named))",
    )
    assert report.about is not None
    assert json.loads(report.about["description"]) == ["hidden", None, os.environ["PATH"]]


def test_tools_that_toolsvc_lacks_are_named(asked: Asked, tmp_path: Path) -> None:
    code = (
        "from agents import Agent\nfrom baton import gateway_tool\n"
        "agent = Agent(name='x', tools=[gateway_tool('fly')])\n"
    )
    reason = asked.about(tmp_path, code, save={"description": "", "parameters": {}}).reason
    assert "toolsvc has no tool 'fly'; it has save" in (reason or "")
    known = asked.about(tmp_path, code, fly={"description": "Fly.", "parameters": {}})
    assert known.reason is None


def test_an_inspector_that_nobody_asks_any_more_ends_in_mid_import(tmp_path: Path) -> None:
    inspector = Asked()
    file = tmp_path / "One" / "agent.py"
    file.parent.mkdir()
    file.write_text(f"open({str(tmp_path / 'begun')!r}, 'w')\nwhile True: pass")
    os.mkfifo(tmp_path / "begun")
    order = Order(name="One", file=file)
    inspector._socket.sendall(order.model_dump_json().encode() + b"\n")
    (tmp_path / "begun").read_bytes()
    assert inspector.close() == 0
