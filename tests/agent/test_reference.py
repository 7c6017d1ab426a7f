"""docs/cli.md names every command and every option, and none that is not there."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from agent.__main__ import make_app
from agent.text import count
from shared.db.additive import migrations
from stack.program import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text()


def commands(group: Any, before: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{before}{name} ")
        else:
            yield f"{before}{name}", command


ALL = dict(commands(typer.main.get_command(make_app())))


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_option_is_on_the_page(name: str) -> None:
    assert re.search(rf"`{name}[ `]", PAGE)
    for parameter in ALL[name].params:
        for option in parameter.opts:
            if option.startswith("--"):
                assert f"{option}" in PAGE, f"{name} {option}"


def test_every_option_on_the_page_exists() -> None:
    known = {option for command in ALL.values() for each in command.params for option in each.opts}
    assert set(re.findall(r"--[a-z][a-z-]+", PAGE)) <= known | {"--help"}


#: Commands that bring their own stack, or look at this release alone.
WITHOUT_GATEWAY = {"agents check", "drill", "deploy-check", "matrix", "release-check"}


@pytest.mark.parametrize("name", ALL)
def test_every_command_can_be_had_as_json_and_at_any_gateway(name: str) -> None:
    options = {option for each in ALL[name].params for option in each.opts}
    assert ({"--json"} if name in WITHOUT_GATEWAY else {"--json", "--url"}) <= options


def test_the_example_of_deploy_check_knows_the_newest_migration() -> None:
    newest = migrations()[-1]
    assert f"✓ {count(len(migrations()), 'migration')}: " in PAGE
    assert f"to come: {newest.revision} {newest.about}" in PAGE
