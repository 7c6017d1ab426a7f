"""A catalogue follows its folders: good news at once, bad news when they are seen twice."""

import asyncio
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from runner.catalog import Catalog
from runner.drop_ins import lanes, reload
from runner.drop_ins.inspection import WITHIN_S, Order, Report, look_at
from runner.drop_ins.inspector import Inspector
from runner.drop_ins.reload import DropIns
from runner.kept import KeptCode
from tests.until import until

pytestmark = pytest.mark.asyncio

CODE = "from agents import Agent\nagent = Agent(name='{}')\n"


class Seen(Inspector):
    """Looks here and now, and remembers at what."""

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[str] = []

    async def inspect(self, order: Order) -> Report:
        self.orders.append(order.name)
        return look_at(order)


class Folder:
    """A folder of agents, and what is made of it."""

    def __init__(self, path: Path) -> None:
        self.path = path / "agents"
        self.path.mkdir()
        self.seen = Seen()
        self.changes = 0
        self.catalog = Catalog(KeptCode(path / "kept"))
        self.drop_ins = DropIns([self.path], self.catalog, inspector=self.seen, tools=self.tools)

    async def tools(self) -> list[dict[str, Any]]:
        return []

    def save(self, name: str, code: str = "") -> Path:
        file = self.path / name / "agent.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code or CODE.format(name))
        return file

    async def changed(self) -> None:
        self.changes += 1

    async def refresh(self) -> None:
        await self.drop_ins.refresh(self.changed)

    def name_of(self, name: str) -> str:
        return self.catalog.agents[name].agent.name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.setattr(reload, "SETTLE_S", 0.001)
    return Folder(tmp_path)


async def test_only_what_has_changed_is_looked_at_again(folder: Folder) -> None:
    for name in ("One", "Two", "Three"):
        folder.save(name)
    folder.save("Bad", "1 / 0")
    await folder.drop_ins.load()
    assert sorted(folder.catalog.agents) == ["One", "Three", "Two"]
    assert "ZeroDivisionError" in folder.catalog.broken["Bad"]
    folder.seen.orders.clear()
    await folder.refresh()
    assert (folder.seen.orders, folder.changes) == ([], 0)
    folder.save("Two", CODE.format("newer"))
    await folder.refresh()
    assert (folder.seen.orders, folder.changes) == (["Two"], 1)
    assert folder.name_of("Two") == "newer"


async def test_a_broken_save_leaves_the_last_good_version_until_it_is_mended(
    folder: Folder,
) -> None:
    folder.save("One", CODE.format("first"))
    await folder.drop_ins.load()
    folder.save("One", "x = 1\nraise ValueError('no')")
    await folder.refresh()
    reason = folder.catalog.broken["One"]
    assert "agent.py:2: ValueError: no\n" in reason
    assert 'agent.py", line 2' in reason
    assert (folder.name_of("One"), folder.changes) == ("first", 1)
    folder.save("One", CODE.format("first"))  # as it was
    await folder.refresh()
    assert (folder.catalog.broken, folder.changes) == ({}, 2)
    assert folder.name_of("One") == "first"


async def test_what_is_broken_for_a_moment_only_is_never_announced(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.save("One")
    await folder.drop_ins.load()
    mended = [lambda: folder.save("One", CODE.format("whole"))]
    really = asyncio.sleep

    async def meanwhile(delay: float) -> None:
        while mended:
            mended.pop()()
        await really(delay)

    file = folder.save("One", CODE[:30])
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", meanwhile)
        await folder.refresh()
    assert (folder.catalog.broken, folder.name_of("One"), folder.changes) == ({}, "whole", 1)

    file.unlink()  # as where a file is replaced
    mended = [lambda: folder.save("One", CODE.format("again"))]
    with monkeypatch.context() as patched:
        patched.setattr(asyncio, "sleep", meanwhile)
        await folder.refresh()
    assert (folder.name_of("One"), folder.changes) == ("again", 2)


async def test_a_deleted_agent_is_gone_and_its_runs_keep_their_code(folder: Folder) -> None:
    file = folder.save("One")
    folder.save("Two")
    await folder.drop_ins.load()
    under_way = folder.catalog.of("One", None)
    assert under_way is not None
    shutil.rmtree(file.parent)
    await folder.refresh()
    assert sorted(folder.catalog.agents) == ["Two"]
    former = folder.catalog.of("One", under_way.digest)
    assert former is not None
    assert former.agent.name == "One"
    folder.save("One")
    await folder.refresh()
    assert folder.name_of("One") == "One"


async def test_runs_under_way_hold_the_code_they_began_with(folder: Folder) -> None:
    folder.save("One", CODE.format("first"))
    await folder.drop_ins.load()
    under_way = folder.catalog.of("One", None)
    assert under_way is not None
    folder.save("One", CODE.format("second"))
    await folder.refresh()
    assert folder.catalog.at_hand("One", under_way.digest)
    assert folder.catalog.of("One", under_way.digest) is under_way
    assert folder.name_of("One") == "second"


async def test_of_two_that_clash_the_one_that_is_served_stays(folder: Folder) -> None:
    folder.save("One")
    await folder.drop_ins.load()
    (folder.path / "one.py").write_text(CODE.format("other"))
    await folder.refresh()
    assert (folder.name_of("One"), list(folder.catalog.agents)) == ("One", ["One"])
    assert sorted(folder.catalog.broken) == ["One", "one"]
    (folder.path / "one.py").unlink()
    await folder.refresh()
    assert (list(folder.catalog.agents), folder.catalog.broken) == (["One"], {})


async def test_touching_a_broken_file_looks_at_it_again(folder: Folder) -> None:
    file = folder.save("One", "import not_installed_yet")
    await folder.drop_ins.load()
    folder.seen.orders.clear()
    os.utime(file, ns=(1, 1))
    await folder.refresh()
    assert folder.seen.orders == ["One"]


async def test_saves_are_noticed(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "LOOK_ANYWAY_S", 3600)
    await folder.drop_ins.load()
    watching = asyncio.create_task(folder.drop_ins.watch(folder.changed))

    async def served() -> bool:
        folder.save("One")  # again, for nobody says when the watching has begun
        return folder.catalog.agents.get("One") is not None

    await until(served)
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert folder.changes >= 1


async def test_an_alias_belongs_to_who_has_it_first(folder: Folder) -> None:
    def also(name: str, *aliases: str) -> Path:
        file = folder.save(name).with_name("agent.yaml")
        file.write_text(f"aliases: [{', '.join(aliases)}]\n")
        return file

    first, second = also("One", "gpt-x"), also("Two", "one")
    await folder.drop_ins.load()
    assert list(folder.catalog.agents) == ["One"]  # `one` is a name already, whatever its case
    assert str(second) in folder.catalog.broken["Two"]
    assert str(folder.path / "One" / "agent.py") in folder.catalog.broken["Two"]
    also("Two", "GPT-X")
    await folder.refresh()
    assert list(folder.catalog.agents) == ["One"]
    assert "alias 'gpt-x' is one of " + str(first) in folder.catalog.broken["Two"]
    also("One", "other")
    await folder.refresh()
    assert sorted(folder.catalog.agents) == ["One", "Two"]
    assert folder.catalog.broken == {}
    also("Three", "b")
    also("Four", "b")
    await folder.refresh()
    assert sorted(folder.catalog.broken) == ["Four", "Three"]


async def test_an_agent_that_takes_long_holds_nobody_else_up(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(Seen):
        async def inspect(self, order: Order) -> Report:
            if order.name == "Long" and order.within_s < WITHIN_S:
                return Report(reason="too long", late=True)
            return await super().inspect(order)

    class Slow(Seen):
        async def inspect(self, order: Order) -> Report:
            await known.wait()
            return await super().inspect(order)

    known = asyncio.Event()
    monkeypatch.setattr(lanes, "Inspector", Slow)
    folder.drop_ins = DropIns([folder.path], folder.catalog, inspector=Late(), tools=folder.tools)
    await folder.drop_ins.load()
    folder.save("Long")
    folder.save("Short")
    await folder.refresh()
    assert (list(folder.catalog.agents), folder.catalog.broken) == (["Short"], {})
    folder.save("Long", CODE.format("newer"))  # what was looked at is out of date
    await folder.refresh()
    known.set()
    while "Long" not in folder.catalog.agents:
        await asyncio.sleep(0.001)
        await folder.refresh()
    assert folder.name_of("Long") == "newer"
    folder.drop_ins.close()


async def test_a_loop_is_looked_at_to_its_end_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "SOON_S", 0.3)
    loops, fine = tmp_path / "loops.py", tmp_path / "fine.py"
    loops.write_text("while True: pass")
    fine.write_text(CODE.format("Fine"))
    both = lanes.Lanes(quick := Inspector())
    looping = Order(name="Loops", file=loops, within_s=3)
    assert await both.inspect(looping, "a", patient=False) is None
    report = await both.inspect(Order(name="Fine", file=fine), "b", patient=True)
    assert report is not None
    assert report.reason is None

    async def known() -> bool:
        return both.news

    await until(known)
    report = await both.inspect(looping, "a", patient=False)
    assert report is not None
    assert report.reason == f"{loops}: its import did not end within 3 s."
    both.close()
    quick.close()
