"""`deploy-check`: it says what it checked, and refuses what cannot work side by side."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import psycopg
import pytest

from agent import release
from agent.release import recorded_releases
from shared.db import additive
from shared.db.additive import Migration
from tests.agent.conftest import Baton
from tests.releases.left_behind import AGENTS, put_back_tables, read_tables

BAD = Migration("0099", "A test.", ["DROP TABLE runs"])


def test_this_release_only_adds_and_understands_the_recorded_ones(baton: Baton) -> None:
    result = baton("deploy-check")
    assert result.status == 0
    assert "all of them only add" in result.out
    for folder in recorded_releases():
        assert f"release {folder.name} is understood" in result.out
    assert "3 runs under way" in result.out


def test_what_a_runner_would_refuse_is_named(
    baton: Baton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "recorded_releases", list)
    agents, rules = tmp_path / "agents", tmp_path / "security.yaml"
    agents.mkdir()
    code = "import shutil\nfrom agents import Agent\nagent = Agent(name='One')\n"
    (agents / "One.py").write_text(code)
    rules.write_text("imports: {deny: [shutil]}\n")
    monkeypatch.setenv("BATON_SECURITY_CONFIG", str(rules))
    result = baton("deploy-check", "--agents", str(agents), "--json")
    assert result.status == 1
    (problem,) = result.json["problems"]
    assert problem.startswith("agent One would not be served: ")
    assert "importing shutil is not allowed: security.yaml, imports.deny: shutil" in problem
    rules.write_text("{}\n")
    result = baton("deploy-check", "--agents", str(agents), "--json")
    assert (result.status, result.json["agents"]) == (0, ["One"])
    rules.write_text("import: {}\n")
    refused = baton("deploy-check", "--agents", str(agents))
    assert refused.status == 1
    assert "line 1: import: there is no such field" in refused.err


@pytest.fixture
def _nothing_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(release, "recorded_releases", list)


def test_what_is_not_understood_of_a_release_is_told(
    baton: Baton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(recorded_releases()[-1], tmp_path / "0.0.9")
    (folder / "under-way.ndjson").write_text('{"tools": []}\n')
    export = next((folder / "exports").iterdir())
    export.write_text(export.read_text().replace("RUN_STARTED", "RUN_STOPPED"))
    monkeypatch.setattr(release, "recorded_releases", lambda: [folder])
    result = baton("deploy-check")
    assert result.status == 1
    assert f"release 0.0.9: exported runs, {export.name}" in result.out


@pytest.mark.usefixtures("_nothing_recorded")
def test_a_migration_that_takes_something_away_is_named(
    baton: Baton, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(additive, "migrations", lambda: [BAD])
    result = baton("deploy-check")
    assert result.status == 1
    assert "0099 (it does more than add): DROP TABLE runs" in result.out


@pytest.mark.stores
@pytest.mark.usefixtures("_nothing_recorded")
def test_what_a_database_lacks_is_to_come(
    baton: Baton, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_AGENTS_HOME", str(tmp_path / "none"))  # they are another test's
    known = [one.revision for one in additive.migrations()]
    result = baton("deploy-check", "--database", database_url, "--json")
    assert (result.status, result.json["pending"]) == (0, [])
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = %s", [known[-3]])
    result = baton("deploy-check", "--database", database_url, "--json")
    assert [one["revision"] for one in result.json["pending"]] == known[-2:]
    with psycopg.connect(database_url) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    result = baton("deploy-check", "--database", database_url)
    assert result.status == 1
    assert "does not know migration 9999" in result.out


@pytest.mark.stores
@pytest.mark.usefixtures("_nothing_recorded")
def test_runs_of_the_installation_are_rehearsed_and_nothing_is_written(
    baton: Baton, database_url: str, tmp_path: Path
) -> None:
    asyncio.run(put_back_tables(recorded_releases()[-1], database_url))
    before = asyncio.run(read_tables(database_url))
    result = rehearsed(baton, database_url, AGENTS)
    assert (result.status, result.json["problems"]) == (0, [])
    runs = {one["run"]: one for one in result.json["runs"]}
    assert {(one["ending"], one["code"]) for one in runs.values()} == {("replays", "same")}
    assert {one["replayed"] - one["steps"] for one in runs.values()} == {0}
    assert len(runs) == 3

    agents = shutil.copytree(AGENTS, tmp_path / "agents")
    agent = agents / "Recorded" / "agent.py"
    agent.write_text(agent.read_text().replace('gateway_tool("save_note"),', ""))
    result = rehearsed(baton, database_url, agents)
    assert result.status == 1
    (problem,) = result.json["problems"]
    (diverged,) = (one for one in result.json["runs"] if one["ending"] != "replays")
    assert problem.startswith(f"run {diverged['run']} of Recorded")
    assert "would diverge: Replay came to another model step '1'" in problem
    assert {one["code"] for one in result.json["runs"]} == {"other"}
    assert (
        "began with other code than is here"
        in baton("deploy-check", "--database", database_url, "--agents", str(agents)).out
    )
    assert asyncio.run(read_tables(database_url)) == before

    with psycopg.connect(database_url) as db:
        db.execute("UPDATE messages SET content = '7'")
        db.execute("UPDATE runs SET input = jsonb_set(CAST(input AS jsonb), '{messages}', '[7]')")
    result = rehearsed(baton, database_url, AGENTS)
    assert result.status == 1
    assert len(result.json["problems"]) == 3
    assert all("somebody has altered it" in one for one in result.json["problems"])


def rehearsed(baton: Baton, database_url: str, agents: Path) -> Any:
    return baton("deploy-check", "--database", database_url, "--agents", str(agents), "--json")


@pytest.mark.usefixtures("_nothing_recorded")
def test_a_database_that_is_not_there_is_told_in_words(baton: Baton) -> None:
    result = baton("deploy-check", "--database", "postgresql://nobody@127.0.0.1:1/x")
    assert result.status == 1
    assert "cannot be asked" in result.err


def test_another_database_is_refused_and_not_made(baton: Baton, tmp_path: Path) -> None:
    file = tmp_path / "made.db"
    result = baton("deploy-check", "--database", f"sqlite:///{file}")
    assert result.status == 2
    assert "postgresql://" in result.err
    assert not file.exists()
