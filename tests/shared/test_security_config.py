"""`security.yaml`: whose rule counts for an agent, and how a mistake is told."""

import re
from pathlib import Path
from typing import Any

import pytest

from shared.settings import ProcessSettings
from shared.settings.common import SECURITY_FILE
from shared.settings.security import Rule, SecurityConfig, load_security, security_of
from shared.settings.yaml_file import YamlFileError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "security.yaml"


def test_the_longest_namespace_counts_whatever_its_case(file: Path) -> None:
    file.write_text(
        "namespaces:\n  team: {users: [a@b.c]}\n  Team/sub: {}\n  team/sub/One: {roles: [admin]}\n"
    )
    rules = load_security(file)
    said = {name: rules.access_of(name) for name in ("team/X", "TEAM/Sub/X", "teamX", "X")}
    assert [one.users for one in said.values()] == [("a@b.c",), None, None, None]
    assert rules.access_of("team/sub/One").roles == ("admin",)


def test_without_a_file_at_the_default_place_everything_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_security(SECURITY_FILE) == SecurityConfig()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "is empty"),
        ("- a\n", "line 1: "),
        ("namespace: {}\n", "line 1: namespace: there is no such field; did you mean namespaces?"),
        ("namespaces:\n  team: [a]\n", "line 2: namespaces.team: "),
        ("namespaces:\n  team:\n", "line 2: namespaces.team: "),
        (
            "namespaces:\n  a:\n    user: [b]\n",
            "line 3: namespaces.a.user: there is no such field; did",
        ),
        ("namespaces:\n  a:\n    users: b\n", "line 3: namespaces.a.users: "),
        ("namespaces:\n  a:\n    users: [b, 3]\n", "line 3: namespaces.a.users.1: "),
        ("namespaces:\n  a:\n    roles: [boss]\n", "line 3: namespaces.a.roles.0: "),
        ("namespaces:\n  a:\n    keys: [bt_Zq3kT8abcdef]\n", "never the key itself"),
        ("namespaces:\n  a: {}\n  A: {}\n", "is there twice"),
        ("namespaces:\n  a: {}\n  a: {}\n", "line 2: a is given twice"),
        ("namespaces:\n  a/: {}\n", "a namespace is the beginning of model ids"),
        ("namespaces:\n  '': {}\n", "a namespace is the beginning of model ids"),
        ("namespaces: [\n", "line "),
        ("imports: [os]\n", "line 1: imports: "),
        (
            "imports:\n  denied: [os]\n",
            "line 2: imports.denied: there is no such field; did you mean",
        ),
        ("imports:\n  deny: os\n", "line 2: imports.deny: "),
        ("hosted_tools:\n  allow: ['']\n", "line 2: hosted_tools.allow.0: "),
        (
            "mcp_command: {}\n",
            "line 1: mcp_command: there is no such field; did you mean mcp_commands?",
        ),
        ("tool_modules:\n  deny: [1]\n", "line 2: tool_modules.deny.0: "),
    ],
)
def test_a_mistake_is_told_with_its_line(file: Path, written: str, told: str) -> None:
    file.write_text(written)
    with pytest.raises(YamlFileError) as refused:
        load_security(file)
    assert str(file) in str(refused.value)
    assert told in str(refused.value)
    assert "abcdef" not in str(refused.value)
    assert not re.search("pydantic|Value error|Input should|Extra inputs", str(refused.value))


def test_a_file_that_is_named_must_be_there_and_readable(file: Path) -> None:
    with pytest.raises(YamlFileError, match="there is no file"):
        load_security(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(YamlFileError, match="cannot be read"):
        load_security(file)


def test_a_process_does_not_start_with_a_wrong_file(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text("namespace: {}\n")
    with pytest.raises(SystemExit) as ended:
        security_of(ProcessSettings.model_validate({"BATON_SECURITY_CONFIG": str(file)}))
    told = capsys.readouterr().err
    assert ended.value.code == 2
    assert "BATON_SECURITY_CONFIG" in told
    assert "line 1: namespace" in told
    assert "docs/access.md" in told


@pytest.mark.parametrize(
    ("rule", "names", "refusal"),
    [
        ({}, ["a"], None),
        ({}, [], None),
        ({"deny": ["a*"]}, ["ab"], "deny: a*"),
        ({"deny": ["b"]}, ["ab"], None),
        ({"deny": ["b"]}, ["a", "b"], "deny: b"),
        ({"deny": ["b"]}, [], "deny: b"),
        ({"allow": ["a"]}, ["a", "b"], None),
        ({"allow": ["a"]}, ["b"], "allow"),
        ({"allow": ["a"]}, [], "allow"),
        ({"allow": []}, ["b"], "allow"),
        ({"allow": ["a"], "deny": ["a"]}, ["a"], "deny: a"),
    ],
)
def test_what_is_denied_or_not_allowed_is_refused(
    rule: dict[str, Any], names: list[str], refusal: str | None
) -> None:
    assert Rule.model_validate(rule).refusal(*names) == refusal
