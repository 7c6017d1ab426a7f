"""What `security.yaml` forbids an agent's code is refused, with file, line and rule."""

from pathlib import Path
from typing import Any

import pytest

from runner.drop_ins.inspection import Limits, Order, Report, inspected, look_at
from runner.drop_ins.rules import rules_of
from shared.settings import ProcessSettings
from shared.settings.security import AgentRules

AGENT = "from agents import Agent\nagent = Agent(name='x')\n"


def looked_at(folder: Path, code: str, rules: dict[str, Any], **more: str) -> Report:
    file = folder / "One" / "agent.py"
    file.parent.mkdir()
    for name, text in more.items():
        (file.parent / f"{name}.py").write_text(text)
    file.write_text(code)
    return look_at(Order(name="One", file=file, rules=AgentRules.model_validate(rules)))


DENIED = {"imports": {"deny": ["subprocess", "os.system", "urllib*"]}}
FORBIDDEN: dict[str, tuple[dict[str, Any], str, str]] = {
    "an import": (DENIED, "import json, subprocess\n", "1: importing subprocess"),
    "of a part": (DENIED, "import urllib.request\n", "1: importing urllib.request"),
    "of a name": (DENIED, "\nfrom os import path, system\n", "2: importing os.system"),
    "in a function": (DENIED, "def f():\n    import subprocess\n", "2: importing subprocess"),
    "by a function": (DENIED, "__import__('subprocess')\n", "1: importing subprocess"),
    "by importlib": (
        DENIED,
        "import importlib\nimportlib.import_module('subprocess')\n",
        "2: importing subprocess",
    ),
    "that is not allowed": ({"imports": {"allow": ["json"]}}, "import json\nimport re\n", "2: imp"),
    "nothing allowed": ({"imports": {"allow": []}}, "import json\n", "1: importing json"),
    "a part of the SDK": (
        {"imports": {"deny": ["agents.extensions"]}},
        "import agents.extensions.memory\n",
        "1: importing agents.extensions.memory",
    ),
    "a hosted tool": (
        {"hosted_tools": {"deny": ["WebSearch*"]}},
        "from agents import WebSearchTool as Search\nimport agents\nx = agents.WebSearchTool\n",
        "3: WebSearchTool",
    ),
    "a tool that is not allowed": (
        {"hosted_tools": {"allow": ["FileSearchTool"]}},
        "from agents import ShellTool\nx = ShellTool\n",
        "2: ShellTool",
    ),
    "a command": (
        {"mcp_commands": {"deny": ["bash"]}},
        (
            "from agents.mcp import MCPServerStdio\n"
            "x = MCPServerStdio(params={'args': [], 'command': '/bin/bash'})\n"
        ),
        "2: the MCP server's command '/bin/bash'",
    ),
    "a command of somebody's": (
        {"mcp_commands": {"allow": ["npx"]}},
        "from agents.mcp import MCPServerStdio\nx = MCPServerStdio({'command': '/tmp/npx'})\n",
        "2: the MCP server's command '/tmp/npx'",
    ),
    "a command by name": (
        {"mcp_commands": {"allow": ["npx"]}},
        (
            "from agents.mcp import MCPServerStdio, MCPServerStdioParams as P\n"
            "x = MCPServerStdio(P(command='uvx'))\ny = MCPServerStdio(params=P(command='uvx'))\n"
        ),
        "2: the MCP server's command 'uvx'",
    ),
    **{
        f"a command that starts it: {command}": (
            {"mcp_commands": {"deny": ["bad-server"]}},
            f"from agents.mcp import MCPServerStdio\nx = MCPServerStdio({{{command}}})\n",
            "2: the MCP server's command",
        )
        for command in (
            "'command': '/usr/bin/env', 'args': ['bad-server']",
            "'command': 'sh', 'args': ['-c', 'cd /tmp;/opt/bad-server --port=3']",
            "'command': '/bin/bash', 'args': ['-lc', f'x', '\"bad-server\"']",
            "'command': 'npx', 'args': ['-y', 'bad-server@1.2.3', path]",
            "'command': 'npx', 'args': ('-y', '@anybody/bad-server')",
            "'args': ['--from', 'x', 'bad-server==1.0'], 'command': 'uvx'",
            "'command': 'python3.11', 'args': ['-m', 'bad-server']",
        )
    },
    "a command through a shell that is not allowed": (
        {"mcp_commands": {"allow": ["good-server"]}},
        (
            "from agents.mcp import MCPServerStdio\n"
            "x = MCPServerStdio({'command': 'sh', 'args': ['-c', 'good-server']})\n"
        ),
        "2: the MCP server's command 'sh'",
    ),
    "a command that cannot be seen": (
        {"mcp_commands": {"allow": ["npx"]}},
        "from agents.mcp import MCPServerStdio\nx = MCPServerStdio({'command': 'np' + 'x'})\n",
        "2: MCPServerStdio without a command that is written out",
    ),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_a_rule_forbids_is_told_with_its_line(tmp_path: Path, what: str) -> None:
    rules, code, told = FORBIDDEN[what]
    reason = looked_at(tmp_path, code + AGENT, rules).reason or ""
    assert f"agent.py:{told}" in reason
    assert f"not allowed: security.yaml, {next(iter(rules))}." in reason


ALLOWED: dict[str, tuple[dict[str, Any], str]] = {
    "no rules": ({}, "import subprocess\n"),
    "another": (DENIED, "import os\nfrom os import path\nimport json\n"),
    "its own": (
        {"imports": {"allow": []}},
        "import helpers\nfrom . import helpers\nimport baton\n",
    ),
    "a namespace": ({"imports": {"allow": ["xml.dom"]}}, "import xml.dom\nfrom xml import dom\n"),
    "a command": (
        {"mcp_commands": {"allow": ["npx"]}},
        "from agents.mcp import MCPServerStdio\nx = MCPServerStdio({'command': 'npx'})\n",
    ),
    "text that only looks so": (DENIED, "x = 'import subprocess'\n"),
}


@pytest.mark.parametrize("what", ALLOWED)
def test_all_else_is_served(tmp_path: Path, what: str) -> None:
    rules, code = ALLOWED[what]
    assert looked_at(tmp_path, code + AGENT, rules, helpers="").reason is None


def test_files_beside_it_are_read_too(tmp_path: Path) -> None:
    report = looked_at(tmp_path, AGENT, DENIED, helpers="\n\nimport subprocess\n")
    assert "helpers.py:3: importing subprocess is not allowed" in (report.reason or "")


def test_what_its_text_does_not_show_is_seen_when_it_runs(tmp_path: Path) -> None:
    code = "exec('import subprocess')\n" + AGENT
    reason = looked_at(tmp_path, code, DENIED).reason or ""
    assert "agent.py:1: NotAllowedError: importing subprocess is not allowed" in reason


def test_so_are_tools_and_servers_that_an_agent_has(tmp_path: Path) -> None:
    code = (
        "import agents\nfrom agents import Agent\n"
        "agent = Agent(name='x', tools=[getattr(agents, 'WebSearch' + 'Tool')()])\n"
    )
    rules = {"hosted_tools": {"deny": ["WebSearchTool"]}}
    assert "WebSearchTool is not allowed" in (looked_at(tmp_path, code, rules).reason or "")


def test_the_rules_travel_to_the_process_that_looks(tmp_path: Path) -> None:
    file = tmp_path / "One.py"
    file.write_text("import subprocess\n" + AGENT)
    order = Order(name="One", file=file, rules=AgentRules.model_validate(DENIED))
    passed_on = Order.model_validate_json(order.model_dump_json())
    assert passed_on == order
    assert "not allowed" in (inspected(passed_on, Limits()).reason or "")


def test_a_rule_for_a_tool_that_there_is_not_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "security.yaml"
    file.write_text("hosted_tools: {deny: [WebSerchTool]}\n")
    with pytest.raises(SystemExit):
        rules_of(ProcessSettings.model_validate({"BATON_SECURITY_CONFIG": str(file)}))
    assert "no tool WebSerchTool; did you mean WebSearchTool" in capsys.readouterr().err
