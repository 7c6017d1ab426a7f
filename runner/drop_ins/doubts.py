"""What about an agent's code a replay cannot carry, as far as it can be seen beforehand."""

import ast
from collections.abc import Iterator

from agents import Agent, FunctionTool

from baton.tools import GatewayTool
from runner.drop_ins.exports import known_to
from runner.drop_ins.load import LoadedAgent
from runner.drop_ins.source import Source

#: What gives another answer each time: the end of a dotted name → what it is.
_FICKLE = {
    "datetime.now": "the clock",
    "datetime.utcnow": "the clock",
    "date.today": "the clock",
    "time.time": "the clock",
    "time.monotonic": "the clock",
    "random.random": "chance",
    "random.choice": "chance",
    "random.randint": "chance",
    "random.shuffle": "chance",
    "uuid.uuid4": "chance",
}


def doubts_of(source: Source, loaded: LoadedAgent) -> list[str]:
    """One sentence for each."""
    return [*_tools(loaded), *_control_flow(source, loaded)]


def _tools(loaded: LoadedAgent) -> Iterator[str]:
    here = [
        tool.name
        for one in known_to(loaded.export)
        for tool in one.tools
        if isinstance(tool, FunctionTool)
        and not isinstance(tool, GatewayTool)
        and not tool._is_agent_tool
    ]
    if here:
        yield (
            f"{', '.join(dict.fromkeys(here))}: these tools run in the runner, so that one that a "
            "crash cuts off is done again; tools of toolsvc are done once."
        )


def _control_flow(source: Source, loaded: LoadedAgent) -> Iterator[str]:
    """Code that makes or runs agents is run again in a replay, and has to come to the same."""
    if isinstance(loaded.export, Agent):
        return
    for path, code in source.python.items():
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Call) and (what := _fickle(ast.unparse(node.func))):
                yield (
                    f"{source.folder / path}:{node.lineno}: this asks {what}, which says something "
                    "else in a replay; docs/replay.md shows the cures."
                )


def _fickle(name: str) -> str | None:
    return next(
        (what for end, what in _FICKLE.items() if name == end or name.endswith(f".{end}")), None
    )
