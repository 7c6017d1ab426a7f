"""Lone processes: how many, how they are started and told to end, and what is kept of their end."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from runner import isolation as isolating
from runner.isolation import Isolation
from runner.lone_process import Nursery, Tail
from shared.protocol.record import WORDS_BYTES, WORDS_LINES, ClaimAnswer, Death
from shared.settings import RunnerSettings
from tests.until import until

KEY = "the key of the runner, of more than 32 characters"


class Toolsvc:
    """Takes reports."""

    def __init__(self) -> None:
        self.reports: list[tuple[UUID, Death, str]] = []

    async def report_death(self, run: UUID, death: Death, *, secret: str) -> None:
        self.reports.append((run, death, secret))


def isolation(toolsvc: Any) -> Isolation:
    settings = RunnerSettings.model_validate(
        {"redis_url": "redis://runner:password-of-redis@127.0.0.1:1", "runner_key": KEY}
    )
    return Isolation(settings, toolsvc)


def suspect() -> ClaimAnswer:
    """What toolsvc answers to the runner that shall start a process."""
    return ClaimAnswer(suspect=uuid4(), suspect_run_id="run_a", suspect_thread_id="thr_a")


#: A nursery that has imported nothing, and whose children take the next program to carry out.
NURSERY = """
import os, sys
from runner.nursery import born
born()
folder = {folder!r}
for program in sorted(os.listdir(folder))[:-1]:
    try:
        os.rename(f"{{folder}}/{{program}}", f"{{folder}}-{{program}}")
    except FileNotFoundError:
        continue
    exec(open(f"{{folder}}-{{program}}").read())
    os._exit(0)
exec(open(f"{{folder}}/{{max(os.listdir(folder))}}").read())
os._exit(0)
"""


class Programs:
    """What the next processes do instead of carrying a run; the last one counts for all others."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._count = folder, 0

    def append(self, program: str) -> None:
        (self.folder / f"{self._count}").write_text(program)
        self._count += 1


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    folder = tmp_path / "programs"
    folder.mkdir()
    command = (sys.executable, "-c", NURSERY.format(folder=str(folder)))
    monkeypatch.setattr(Nursery, "_command", command)
    return Programs(folder)


@pytest.mark.asyncio
async def test_two_at_a_time_and_an_offer_holds_its_place(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolating, "MOST_ALONE", 2)
    programs.append(f"import sys; open({str(tmp_path / 'begun')!r}, 'w'); sys.stdin.read()")
    toolsvc = Toolsvc()
    lone = isolation(toolsvc)
    first, second = lone.offer(), lone.offer()
    assert first
    assert second
    assert lone.offer() is None
    lone.settle(first, ClaimAnswer())  # toolsvc had nothing for it
    third = lone.offer()
    assert third
    lone.settle(second, suspect())
    await until(lambda: there(tmp_path / "begun"))
    lone.settle(third, suspect())
    assert lone.offer() is None
    lone.end()  # before the third has begun
    await lone.ended(within_s=60)
    assert {death.told_to_end for _, death, _ in toolsvc.reports} == {True}
    assert {death.lone for _, death, _ in toolsvc.reports} == {second.id, third.id}
    assert lone.offer() is None  # this runner ends


@pytest.mark.asyncio
async def test_a_death_is_reported_with_its_last_words_and_without_secrets(
    programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTHER_API_KEY", "key-of-another")
    programs.append(
        "import os, sys; told = sys.stdin.readline(); print('it was told', told, flush=True);"
        "other = os.environ['OTHER_API_KEY'];"
        f"print('runs with', {KEY!r}, 'password-of-redis', other, flush=True);"
        "print('farewell', file=sys.stderr, flush=True); os._exit(9)"
    )
    toolsvc, answer = Toolsvc(), suspect()
    lone = isolation(toolsvc)
    offered = lone.offer()
    assert offered
    with capture_logs([merge_contextvars]) as lines:
        lone.settle(offered, answer)
        await until(lambda: reported(toolsvc))
    assert {(one["run"], one["thread"]) for one in lines} == {("run_a", "thr_a")}
    await lone.ended(within_s=60)
    ((of, death, secret),) = toolsvc.reports
    assert (of, death.lone, death.status, secret) == (
        answer.suspect,
        offered.id,
        "exit status 9",
        offered.secret,
    )
    said = "\n".join(death.lines)
    assert death.lines[-1] == "farewell"
    assert "it was told" in said
    assert "runs with [hidden] [hidden] [hidden]" in said
    assert offered.secret not in said


@pytest.mark.asyncio
async def test_a_signal_is_named(programs: Programs) -> None:
    programs.append("import os; os.kill(os.getpid(), 9)")
    toolsvc = Toolsvc()
    lone = isolation(toolsvc)
    if offered := lone.offer():
        lone.settle(offered, suspect())
    await until(lambda: reported(toolsvc))
    await lone.ended(within_s=60)
    assert toolsvc.reports[0][1].status == "SIGKILL"


@pytest.mark.asyncio
async def test_a_grandchild_that_holds_the_pipe_keeps_nobody_waiting(programs: Programs) -> None:
    programs.append(
        "import os, subprocess, sys;"
        "subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()']);"
        "print('gone', flush=True); os._exit(3)"
    )
    toolsvc = Toolsvc()
    lone = isolation(toolsvc)
    if offered := lone.offer():
        lone.settle(offered, suspect())
    await until(lambda: reported(toolsvc))
    await lone.ended(within_s=60)
    assert toolsvc.reports[0][1].lines == ["gone"]


@pytest.mark.asyncio
async def test_a_good_end_is_not_told(programs: Programs) -> None:
    programs.append("pass")
    toolsvc = Toolsvc()
    lone = isolation(toolsvc)
    if offered := lone.offer():
        lone.settle(offered, suspect())
    await lone.ended(within_s=60)
    assert toolsvc.reports == []
    assert lone.offer()


async def there(file: Path) -> bool:
    return file.exists()  # noqa: ASYNC240 - nothing else goes on here


async def reported(toolsvc: Toolsvc) -> bool:
    return bool(toolsvc.reports)


def test_of_much_output_the_end_is_kept() -> None:
    tail = Tail()
    for number in range(5000):
        tail.add(f"line {number}\n".encode())
    assert tail.lines([]) == [f"line {n}" for n in range(5000 - WORDS_LINES, 5000)]


def test_one_endless_line_is_cut() -> None:
    tail = Tail()
    for _ in range(100):
        tail.add(b"x" * 65_536)
    (line,) = tail.lines([])
    assert len(line) <= WORDS_BYTES


def test_a_secret_at_the_cut_is_not_shown_by_half() -> None:
    secret = "s" * 500
    for before in range(0, 600, 7):
        tail = Tail()
        tail.add((secret + "\n").encode() * 80 + b"y" * before)
        assert "s" not in "".join(tail.lines([secret])).replace("[hidden]", "")


def test_output_that_is_no_text_is_kept_as_far_as_it_goes() -> None:
    tail = Tail()
    tail.add(b"\xff\xfe caf\xc3\xa9\n" + "é".encode() * WORDS_BYTES)
    assert all(len(line.encode()) <= WORDS_BYTES for line in tail.lines([]))


#: Loads agents whose import never ends.
STUCK = """
import contextlib, time, uuid
from runner import alone
from shared.settings import RunnerSettings, load_settings

@contextlib.asynccontextmanager
async def stuck(*_):
    time.sleep(600)
    yield

alone.opened_worker = stuck
alone.LONE_STARTS_WITHIN_S = 0.5
alone.carry_alone(load_settings(RunnerSettings), uuid.uuid4())
"""


def test_a_start_that_never_ends_is_ended_in_words() -> None:
    with subprocess.Popen(
        (sys.executable, "-c", STUCK),
        env=os.environ | {"REDIS_URL": "redis://127.0.0.1:1", "BATON_RUNNER_KEY": KEY},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b'{"runner": "lone-1", "secret": "x"}\n')
        process.stdin.flush()
        said = process.stdout.read().decode()
    assert process.returncode == 1
    assert "in stuck" in said


def test_this_process_is_not_started_by_hand() -> None:
    done = subprocess.run(
        (sys.executable, "-m", "runner", "--alone", str(uuid4())),
        env=os.environ | {"REDIS_URL": "redis://127.0.0.1:1", "BATON_RUNNER_KEY": KEY},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "for runners" in done.stderr


#: A lone process whose run does something to it; what is around the run is left out.
ALONE = """
import asyncio, os, signal, sys
from contextlib import nullcontext
from types import SimpleNamespace
from runner import alone

async def carry(_run):
    if sys.argv[1] == "cancel":
        asyncio.get_running_loop().call_soon(lambda: [one.cancel() for one in asyncio.all_tasks()])
    else:
        os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(60)

worker = SimpleNamespace(carry_alone=carry)
alone.opened_worker = lambda *_: nullcontext((worker, None))
alone.working = lambda *_: nullcontext(worker)
alone.parts_of = lambda _: {}
told = alone.Told(runner="lone-1", secret="s", run_id="run_1")
try:
    asyncio.run(alone._carry(None, None, None, "run", told))
except asyncio.CancelledError:
    pass
"""


@pytest.mark.parametrize(("how", "status"), [("cancel", 1), ("ask", 0)])
def test_code_that_cancels_everything_is_a_death_and_a_signal_is_none(
    how: str, status: int
) -> None:
    done = subprocess.run((sys.executable, "-c", ALONE, how), check=False, timeout=60)
    assert done.returncode == status


@pytest.mark.asyncio
async def test_all_come_from_one_nursery_and_another_one_follows_it(
    programs: Programs, tmp_path: Path
) -> None:
    """Whoever kills the nursery is not known; its place is free, and its lease will tell."""
    note = f"open({str(tmp_path)!r} + f'/parent-{{os.getppid()}}', 'a').write('x')"
    programs.append(f"import os; {note}; os._exit(3)")
    programs.append(f"import os; {note}; os._exit(3)")
    programs.append("import os; os.kill(os.getppid(), 9); sys.stdin.read()")
    programs.append(f"import os; {note}; os._exit(3)")
    toolsvc = Toolsvc()
    lone = isolation(toolsvc)
    for _ in range(4):
        offered = lone.offer()
        assert offered
        lone.settle(offered, suspect())
        await until(lambda: settled(lone))
    assert [death.status for _, death, _ in toolsvc.reports] == ["exit status 3"] * 3
    notes = [file.read_text() for file in tmp_path.glob("parent-*")]  # noqa: ASYNC240
    assert sorted(notes) == ["x", "xx"]
    await lone.ended(within_s=60)


async def settled(lone: Isolation) -> bool:
    return not lone._taken
