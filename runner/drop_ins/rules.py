"""What agents' code may import and use, by `security.yaml`.

Asked of its text before it is imported, of its imports, and of the agents that it offers.

Guard rails, and no sandbox: code that wants to can get around them.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import agents
from agents import Agent, FunctionTool
from agents.mcp import MCPServerStdio

from runner.drop_ins.source import Source
from shared.settings.common import ProcessSettings
from shared.settings.security import (
    AgentRules,
    Imports,
    Rule,
    SecurityConfig,
    load_security,
    security_of,
)
from shared.settings.yaml_file import YamlFileError

#: The SDK's tools that are no functions of the agent's own.
HOSTED_TOOLS = frozenset(
    name for name in vars(agents) if name.endswith("Tool") and name not in ("Tool", "FunctionTool")
)
_STDIO = MCPServerStdio.__name__
#: Commands that start others, named in their arguments.
_STARTERS = (
    *("sh", "bash", "dash", "zsh", "ksh", "fish", "busybox", "env", "nice", "nohup", "timeout"),
    *("xargs", "sudo", "npx", "npm", "pnpm", "pnpx", "yarn", "bun", "bunx", "deno", "node", "uv"),
    *("uvx", "pipx", "python*", "docker", "podman", "cmd", "cmd.exe", "powershell*", "pwsh"),
)
_WORDS = re.compile(r"[^\s;&|()<>$`\"']+")
#: Of a package: `@1.2` after its name, `==1.2`.
_VERSION = re.compile(r"(?<=.)(@[^@/]*|[=<>~!]=.*)$")
_IMPORTERS = ("__import__", "import_module")


#: No rules.
EVERYTHING = AgentRules()


class NotAllowedError(Exception):
    """An agent's code does what a `rule` forbids; `placed`: the sentence names the file, too."""

    def __init__(self, sentence: str, *, rule: str, placed: bool) -> None:
        super().__init__(sentence)
        self.rule, self.placed = rule, placed


def rules_of(settings: ProcessSettings) -> SecurityConfig:
    """What the file says; one that says something wrong ends the process in words."""
    return security_of(settings, read_rules)


def read_rules(path: Path) -> SecurityConfig:
    """What a file says.

    Raises:
        YamlFileError: as `load_security`; or it names what the SDK does not have.
    """
    rules = load_security(path)
    for name in (*rules.hosted_tools.deny, *(rules.hosted_tools.allow or ())):
        if not any(fnmatchcase(one, name) for one in HOSTED_TOOLS):
            near = get_close_matches(name, HOSTED_TOOLS, n=1)
            meant = (
                f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(HOSTED_TOOLS))}"
            )
            why = f"{path}: hosted_tools: the SDK has no tool {name}; {meant.rstrip('?')}."
            raise YamlFileError([why])
    return rules


class _Use(NamedTuple):
    """Something that a rule may forbid: by which of its fields, and under which names."""

    line: int
    field: str
    what: str
    names: tuple[str, ...]


def require_allowed_text(source: Source, rules: AgentRules) -> None:
    """Read all of an agent's files.

    Raises:
        NotAllowedError: for the first thing that a rule forbids.
    """
    if rules == EVERYTHING:
        return
    own = source.own_modules()
    for path, code in sorted(source.python.items()):
        try:
            tree = ast.parse(code)
        except (SyntaxError, ValueError):  # which its import tells, if it is imported
            continue
        for use in _uses(tree, own):
            _require(rules, use, f"{source.folder / path}:{use.line}")


def require_allowed_import(name: str, parts: Sequence[str], rules: AgentRules) -> None:
    """Ask whether code that runs may import a module, or `parts` from it.

    Raises:
        NotAllowedError: the rule for imports forbids it.
    """
    if rules.imports != Imports():
        for use in _imported(0, name, parts):
            _require(rules, use, "")


def require_allowed_agents(known: Sequence[Agent[Any]], rules: AgentRules, file: Path) -> None:
    """Ask what the agents have that are known before a run.

    Raises:
        NotAllowedError: a rule forbids a tool, or the command of an MCP server.
    """
    for one in known:
        for tool in one.tools:
            if not isinstance(tool, FunctionTool):
                name = type(tool).__name__
                _require(rules, _Use(0, "hosted_tools", name, (name,)), str(file))
        for server in one.mcp_servers:
            if isinstance(server, MCPServerStdio):
                given = server.params
                _require(rules, _command(0, given.command, given.args), str(file))


def _require(rules: AgentRules, use: _Use, where: str) -> None:
    rule: Rule = getattr(rules, use.field)
    if why := rule.refusal(*use.names):
        at = f"{where}: " if where else ""
        sentence = f"{at}{use.what} is not allowed: security.yaml, {use.field}.{why}."
        raise NotAllowedError(sentence, rule=use.field, placed=bool(where))


# ---------------------------------------------------------------------------------- in the text
def _uses(tree: ast.AST, own: frozenset[str]) -> Iterator[_Use]:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.stmt, ast.expr)):
            continue
        for module, parts in _modules(node):
            if module.partition(".")[0] not in own:
                yield from _imported(node.lineno, module, parts)
        yield from _used(node)


def _modules(node: ast.stmt | ast.expr) -> list[tuple[str, list[str]]]:
    """What an import names: modules, and what is taken from each."""
    match node:
        case ast.Import(names=names):
            return [(one.name, []) for one in names]
        case ast.ImportFrom(module=str(module), names=names, level=0):
            return [(module, [one.name for one in names if one.name != "*"])]
        case ast.Call(func=called, args=[ast.Constant(value=str(module)), *_]):
            if _last(called) in _IMPORTERS and not module.startswith("."):
                return [(module, [])]
    return []


def _imported(line: int, module: str, parts: Sequence[str]) -> Iterator[_Use]:
    for part in parts or ("",):
        full = f"{module}.{part}" if part else module
        names = tuple(_beginnings(full))
        yield _Use(line, "imports", f"importing {full}", names)


def _beginnings(name: str) -> Iterator[str]:
    parts = name.split(".")
    for count in range(1, len(parts) + 1):
        yield ".".join(parts[:count])


def _used(node: ast.stmt | ast.expr) -> Iterator[_Use]:
    """Hosted tools, wherever they are named, and commands of MCP servers."""
    if isinstance(node, (ast.Name, ast.Attribute)) and (name := _last(node)) in HOSTED_TOOLS:
        yield _Use(node.lineno, "hosted_tools", name, (name,))
    if isinstance(node, ast.Call) and _last(node.func) == _STDIO:
        yield _command(node.lineno, *_command_of(node))


def _command(line: int, command: str | None, arguments: Sequence[str]) -> _Use:
    if command is None:
        what = f"{_STDIO} without a command that is written out there"
        return _Use(line, "mcp_commands", what, ())
    names = (command, *_started_by(command, arguments))
    return _Use(line, "mcp_commands", f"the MCP server's command {command!r}", names)


def _started_by(command: str, arguments: Sequence[str]) -> Iterator[str]:
    """Words that may name what a command starts in its turn, without versions."""
    end = command.rpartition("/")[2]
    if any(fnmatchcase(end, pattern) for pattern in _STARTERS):
        for word in _WORDS.findall(" ".join(arguments)):
            yield word
            yield _VERSION.sub("", word)


def _command_of(call: ast.Call) -> tuple[str | None, list[str]]:
    """What `MCPServerStdio(params={"command": "…"})` starts, or `params=…(command="…")`.

    With the arguments that are written out.
    """
    given = [one.value for one in call.keywords if one.arg == "params"] or call.args[:1]
    match given:
        case [ast.Dict(keys=keys, values=values)]:
            pairs = [(_constant(key), value) for key, value in zip(keys, values, strict=True)]
        case [ast.Call(keywords=keywords)]:
            pairs = [(one.arg, one.value) for one in keywords]
        case _:
            pairs = []
    command = next((_constant(value) for name, value in pairs if name == "command"), None)
    listed = next((value for name, value in pairs if name == "args"), None)
    arguments = listed.elts if isinstance(listed, (ast.List, ast.Tuple)) else []
    return command, [text for one in arguments if (text := _constant(one)) is not None]


def _constant(node: ast.AST | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def _last(node: ast.AST) -> str:
    """The last name of `a.b.c`, or nothing."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""
