"""The runner as a process, before there is anything to carry."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_runner_that_waits_for_toolsvc_can_be_stopped(number: signal.Signals) -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "TOOLSVC_URL": "http://127.0.0.1:1",
        "BATON_RUNNER_KEY": "k" * 32,
        "OPENAI_API_KEY": "sk-x",
        "BATON_LOG_FORMAT": "json",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "runner"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        stopping = threading.Timer(60, process.kill)
        stopping.start()
        try:
            assert process.stdout
            assert any("toolsvc is away" in line for line in process.stdout)
            process.send_signal(number)
            said = process.stdout.read()
            assert process.wait(10) == 0
            assert "Traceback" not in said
        finally:
            stopping.cancel()
            process.kill()
