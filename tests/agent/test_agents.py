"""`agents`: what is served and what is broken; and, without a gateway, what would be served."""

from pathlib import Path
from typing import Any

import pytest

from tests.agent.conftest import Baton
from tests.agent.standin import StandIn, page

SERVED: dict[str, Any] = {"name": "One", "description": "Helps.", "digest": "d" * 64}
STATE: dict[str, Any] = {
    "name": "One",
    "served": [{"digest": "d" * 64, "runners": ["runner_1", "runner_2"]}],
    "broken": [
        {
            "reason": "agents/One/agent.py:3: NameError: x",
            "traceback": '  File "agents/One/agent.py", line 3',
            "runners": ["runner_1"],
        }
    ],
}


@pytest.fixture
def served(standin: StandIn) -> StandIn:
    standin.answers["GET /api/agents"] = (200, page(SERVED))
    standin.answers["GET /admin/agents"] = (200, page(STATE))
    return standin


def test_the_served_are_listed_and_the_broken_are_named(known: Baton, served: StandIn) -> None:
    result = known("agents")
    assert all(word in result.out for word in ("One", "dddddddd", "Helps."))
    assert "One: agents/One/agent.py:3: NameError: x" in result.err
    assert known("agents", "list", "--json").json == page(SERVED)


def test_who_is_no_admin_sees_what_is_served(known: Baton, served: StandIn) -> None:
    refusal = {"error": {"code": "forbidden", "message": "Only admins.", "requestId": "r"}}
    served.answers["GET /admin/agents"] = (403, refusal)
    result = known("agents")
    assert "Helps." in result.out
    assert "✗" not in result.err


def test_one_is_shown_with_its_runners_and_its_traceback(known: Baton, served: StandIn) -> None:
    out = known("agents", "show", "One").out
    for words in ("dddddddddddd by runner_1, runner_2", "NameError: x", "line 3"):
        assert words in out
    assert known("agents", "show", "One", "--json").json["state"] == STATE
    assert "There is no agent 'Two'" in known("agents", "show", "Two").err


GOOD = "from agents import Agent\nagent = Agent(name='x', handoffs=[Agent(name='y')])\n"


def test_a_check_tells_what_would_be_served_without_a_gateway(known: Baton, tmp_path: Path) -> None:
    for name, code in (("One", GOOD), ("team/Two", "import nothing_like_this"), ("_x", "1 / 0")):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "agent.py").write_text(code)
    (tmp_path / "One" / "extra.py").write_text("")
    (tmp_path / "Made.py").write_text(
        "import time\nfrom agents import Agent, function_tool\n"
        "def agent():\n    return Agent(name=str(time.time()))\n"
    )
    result = known("agents", "check", str(tmp_path))
    assert result.status == 1
    for words in (
        "✓ One would be served, with 1 more agent",
        "pip install nothing_like_this",
        "✓ Made would be served",
        "Made.py:4: this asks the clock",
    ):
        assert words in result.out
    assert "_x" not in result.out


def test_a_check_of_one_file_of_nothing_and_of_an_empty_folder(
    known: Baton, tmp_path: Path
) -> None:
    (tmp_path / "One.py").write_text(
        GOOD + "from agents import function_tool\nfrom baton import gateway_tool\n"
        "@function_tool\ndef look() -> str:\n    '''Look.'''\n    return ''\n"
        "agent.tools += [look, gateway_tool('any')]\n"
    )
    (one,) = known("agents", "check", str(tmp_path / "One.py"), "--json").json["data"]
    assert (one["name"], one["reason"], len(one["digest"])) == ("One", None, 64)
    assert [doubt.partition(":")[0] for doubt in one["doubts"]] == ["look"]
    assert known("agents", "check", str(tmp_path / "none")).status == 2
    (tmp_path / "empty").mkdir()
    empty = known("agents", "check", str(tmp_path / "empty"))
    assert (empty.status, "There is no agent here" in empty.err) == (1, True)


def test_a_check_goes_by_the_rules_of_the_installation(
    known: Baton, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, rules = tmp_path / "One.py", tmp_path / "security.yaml"
    agent.write_text("import shutil\n" + GOOD)
    rules.write_text("imports: {deny: [shutil]}\n")
    monkeypatch.setenv("BATON_SECURITY_CONFIG", str(rules))
    out = " ".join(known("agents", "check", str(agent)).out.split())
    assert "importing shutil is not allowed" in out
    rules.write_text("import: {}\n")
    refused = known("agents", "check", str(agent))
    assert refused.status != 0
    said = " ".join(refused.err.split())
    assert "security.yaml, line 1: import: there is no such field; did you mean imports? " in said
    assert "docs/access.md explains" in said
