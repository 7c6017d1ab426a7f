"""How a server stops: what is under way gets its time, and what is cut does not look whole."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from stack.program import ROOT, free_port

#: `/stream` says a line every fifth of a second.
SCRIPT = """
import asyncio, sys
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from shared.settings.common import ProcessSettings
from shared.telemetry.logs import set_up_logging
from shared.web.serve import serve

app = FastAPI()

@app.get("/stream")
async def stream():
    async def lines():
        for number in range(int(sys.argv[3])):
            yield f"{number}\\n"
            await asyncio.sleep(0.2)
    return StreamingResponse(lines())

async def drain():
    if sys.argv[4] == "fails":
        raise RuntimeError("no")

settings = ProcessSettings.model_validate({"BATON_PORT": int(sys.argv[1])})
set_up_logging("test", settings)
serve(app, settings, process="test", drain=drain, grace_s=float(sys.argv[2]))
"""


@contextmanager
def serving(
    port: int, *, grace_s: float, lines: int, drain: str = "works"
) -> Iterator["subprocess.Popen[str]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(port), str(grace_s), str(lines), drain],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            assert process.stdout
            assert any('"listening"' in line for line in process.stdout)
            yield process
        finally:
            process.kill()


def read(process: "subprocess.Popen[str]", port: int, *, signals: int) -> list[str]:
    """The lines of `/stream`, with SIGTERM after the first."""
    found: list[str] = []
    url = f"http://127.0.0.1:{port}/stream"
    with httpx.stream("GET", url, trust_env=False, timeout=30) as answer:
        for line in answer.iter_lines():
            if len(found) < signals:
                process.terminate()
            found.append(line)
    return found


@pytest.mark.parametrize("drain", ["works", "fails"])
def test_a_stream_under_way_is_finished(drain: str) -> None:
    with serving(port := free_port(), grace_s=60, lines=8, drain=drain) as process:
        assert read(process, port, signals=1) == [str(number) for number in range(8)]
        assert process.wait(20) == 0


@pytest.mark.parametrize(("grace_s", "signals"), [(0.5, 1), (600, 2)])
def test_a_stream_that_is_cut_does_not_look_whole(grace_s: float, signals: int) -> None:
    """The time is over, or somebody has asked twice."""
    with serving(port := free_port(), grace_s=grace_s, lines=10_000) as process:
        with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
            read(process, port, signals=signals)
        assert process.wait(20) == 0
