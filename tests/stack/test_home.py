import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.home import Home, Running, Started
from stack.program import Tier

SLEEP = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    it = Home(tmp_path / "home")
    it.make()
    return it


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP) as process:
        command_line = Path(f"/proc/{process.pid}/cmdline")
        while command_line.exists() and b"sleep" not in command_line.read_bytes():
            time.sleep(0.01)
        yield process
        process.kill()


def left(pid: int, argv: tuple[str, ...] = SLEEP, tier: Tier = Tier.STORE) -> Running:
    started = Started(pid=pid, argv=argv, tier=tier, stop_signal=15)
    return Running(
        supervisor=1, gateway_url="http://x", redis_port=1, processes={"valkey": started}
    )


def test_others_cannot_look_into_a_home(home: Home) -> None:
    assert home.path.stat().st_mode & 0o066 == 0


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StackError, match="choose --home"):
        Home(tmp_path / "file" / "home").make()


def test_a_second_owner_is_refused_in_words(home: Home) -> None:
    with home.held():
        home.remember(left(os.getpid()))
        other = Home(home.path)
        with pytest.raises(StackError, match="in use by another"), other.held():
            pass


def test_what_runs_is_remembered_until_it_ends(home: Home) -> None:
    with home.held():
        home.remember(left(1))
        assert home.running() == left(1)
    assert home.running() is None


@pytest.mark.parametrize("tier", [Tier.STORE, Tier.RUNNER])
def test_leftovers_of_a_killed_supervisor_are_ended(
    home: Home, sleeper: subprocess.Popen[bytes], tier: Tier
) -> None:
    home.remember(left(sleeper.pid, tier=tier))
    with home.held():
        assert sleeper.wait(10) == (-15 if tier is Tier.STORE else -9)


def test_a_new_owner_of_an_old_process_id_is_left_alone(
    home: Home, sleeper: subprocess.Popen[bytes]
) -> None:
    home.remember(left(sleeper.pid, argv=("valkey-server",)))
    with home.held():
        assert sleeper.poll() is None


def test_a_broken_file_is_as_good_as_none(home: Home) -> None:
    (home.path / "running.json").write_text("{")
    assert home.running() is None
