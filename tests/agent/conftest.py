"""The command line as people run it: one process' `main`, a home of its own, a stand-in gateway."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.__main__ import main
from tests.agent.standin import KEY, StandIn, serving


@dataclass(frozen=True)
class Result:
    """How a command ended and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Typed(io.StringIO):
    """What somebody types at a terminal; `^C` alone on a line is Ctrl-C."""

    def isatty(self) -> bool:
        return True

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]
        line = super().readline(-1 if size is None else size)
        if line == "^C\n":
            raise KeyboardInterrupt
        return line


Baton = Callable[..., Result]


@pytest.fixture(scope="session")
def gateway_process() -> Iterator[StandIn]:
    with serving() as standin:
        yield standin


@pytest.fixture
def standin(gateway_process: StandIn) -> Iterator[StandIn]:
    gateway_process.reset()
    yield gateway_process
    broken = [*gateway_process.broken]
    gateway_process.reset()
    assert not broken


@pytest.fixture
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person without keys; the configuration folder they would lie in."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BATON_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USER", "ada")
    monkeypatch.setenv("LOGNAME", "ada")
    for name in ("BATON_API_KEY", "BATON_URL", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "config" / "baton"


@pytest.fixture
def baton(
    nobody: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Baton:
    """Run one command in this process; no answer but that of `keys create` may hold a key."""

    def run(*arguments: str, stdin: str = "", typed: str | None = None) -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin) if typed is None else Typed(typed))
        capfd.readouterr()
        status = main(arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        if arguments[:2] != ("keys", "create"):
            assert KEY not in out + err
        return Result(status, out, err)

    return run


@pytest.fixture
def known(standin: StandIn, baton: Baton, monkeypatch: pytest.MonkeyPatch) -> Baton:
    """The same with a key in the environment, at the stand-in."""
    monkeypatch.setenv("BATON_URL", standin.url)
    monkeypatch.setenv("BATON_API_KEY", KEY)
    return baton
