"""Rules that change while agents are served: what they forbid goes, what they allow comes."""

import importlib
from pathlib import Path

import pytest

from runner.drop_ins import imports, reload
from runner.drop_ins.rules import read_rules
from runner.trials import load_at
from shared.settings.security import SecurityConfig
from shared.settings.security_file import SecurityFile
from shared.settings.yaml_file import YamlFileError
from shared.telemetry.metrics import RULES_REFUSED
from tests.runner.test_drop_ins_reload import CODE, Folder

USES_OS = "import os\n" + CODE
LATE = CODE + "def late(name):\n    return __import__(name)\n"


class Ruled(Folder):
    """A folder of agents, and a file of rules."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.rules = path / "security.yaml"
        self.rules.write_text("{}\n")
        self.file = SecurityFile(self.rules, read_rules, SecurityConfig())

    async def say(self, rules: str) -> None:
        self.rules.write_text(rules)
        self.file.look()
        assert self.file.look()
        await self.drop_ins.rule(self.file, self.changed)


@pytest.fixture
def ruled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ruled:
    monkeypatch.setattr(reload, "SETTLE_S", 0.001)
    return Ruled(tmp_path)


@pytest.mark.asyncio
async def test_what_is_forbidden_goes_and_what_is_allowed_comes(ruled: Ruled) -> None:
    ruled.save("One", USES_OS.format("One"))
    ruled.save("Two")
    ruled.save("Tool", CODE.format("Tool") + "import agents\nx = agents.WebSearchTool\n")
    await ruled.drop_ins.load()
    under_way = ruled.catalog.of("One", None)
    counted = RULES_REFUSED.labels("imports")._value.get()
    await ruled.say("imports: {deny: [os]}\n")
    assert sorted(ruled.catalog.agents) == ["Tool", "Two"]
    assert "security.yaml, imports.deny: os" in ruled.catalog.broken["One"]
    assert RULES_REFUSED.labels("imports")._value.get() > counted
    assert ruled.changes >= 1
    assert under_way is not None
    assert ruled.catalog.of("One", under_way.digest) is None  # nobody takes it up again
    await ruled.say("hosted_tools: {deny: [WebSearchTool]}\n")
    assert sorted(ruled.catalog.agents) == ["One", "Two"]
    assert list(ruled.catalog.broken) == ["Tool"]


@pytest.mark.asyncio
async def test_a_last_good_version_goes_too_where_it_is_forbidden(ruled: Ruled) -> None:
    ruled.save("One", USES_OS.format("One"))
    await ruled.drop_ins.load()
    ruled.save("One", "1 / 0")
    await ruled.refresh()
    assert list(ruled.catalog.agents) == ["One"]
    await ruled.say("imports: {deny: [os]}\n")
    assert ruled.catalog.agents == {}
    assert "ZeroDivisionError" in ruled.catalog.broken["One"]


@pytest.mark.asyncio
async def test_what_code_imports_at_run_time_is_held_to_the_new_rules(ruled: Ruled) -> None:
    ruled.save("One", LATE.format("One"))
    await ruled.drop_ins.load()
    package = imports.package_of(ruled.catalog.sources["One"])
    late = importlib.import_module(f"{package}.agent").late
    assert late("os")
    await ruled.say("imports: {deny: [os]}\n")
    assert list(ruled.catalog.agents) == ["One"]  # its text does not show it
    with pytest.raises(Exception, match="importing os is not allowed"):
        late("os")


@pytest.mark.parametrize(
    ("broken", "told"),
    [("hosted_tools: {deny: [WebSerchTool]}\n", "WebSearchTool"), ("import: {}\n", "line 1")],
)
@pytest.mark.asyncio
async def test_a_broken_file_leaves_what_is_served(ruled: Ruled, broken: str, told: str) -> None:
    ruled.save("One", USES_OS.format("One"))
    await ruled.drop_ins.load()
    await ruled.say(broken)
    assert list(ruled.catalog.agents) == ["One"]
    assert told in (ruled.catalog.rules_problem or "")
    await ruled.say("{}\n")
    assert ruled.catalog.rules_problem is None


def test_tests_of_authors_are_held_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent, rules = tmp_path / "One.py", tmp_path / "security.yaml"
    agent.write_text(USES_OS.format("One"))
    monkeypatch.setenv("BATON_SECURITY_CONFIG", str(rules))
    rules.write_text("imports: {deny: [os]}\n")
    with pytest.raises(Exception, match=r"importing os is not allowed: security\.yaml"):
        load_at(agent)
    rules.write_text("import: {}\n")
    with pytest.raises(YamlFileError, match="did you mean imports"):
        load_at(agent)
    rules.write_text("{}\n")
    assert load_at(agent).name == "One"
