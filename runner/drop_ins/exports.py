"""What an agent's file offers to be run, by conventions that `_KINDS` lists in order."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FunctionType, ModuleType
from typing import Any, get_type_hints

from agents import Agent
from agents.mcp import MCPServer

from baton import RunContext
from runner.wrap import reachable

AGENTS = ("agent", "root_agent", "triage_agent", "orchestrator")
FACTORIES = ("agent", "create_agent", "make_agent", "build_agent", "get_agent")
HELPERS = ("run", "main", "chat", "handle", "run_agent")
RUNNERS = ("runner", "create_runner")
CONTEXTS = ("create_context", "make_context", "build_context")
SHARED_SERVERS = "shared_mcp"
#: How people call what is second among a function's parameters, where they do not annotate it.
_CONTEXTS = ("context", "ctx", "run_context")


class NoExportError(Exception):
    """Nothing in the file can be served; the sentence tells what to name."""


@dataclass(frozen=True, slots=True)
class Factory:
    """A function that makes an agent for each run."""

    make: Callable[..., Any]
    #: Whether it takes the run's context.
    takes_context: bool


@dataclass(frozen=True, slots=True)
class ContextFactory:
    """A function that makes a run's context object, of the agent's own class."""

    make: Callable[..., Any]
    #: Whether it takes a RunContext.
    takes_context: bool


@dataclass(frozen=True, slots=True)
class Helper:
    """A function that gets what was said, and calls the SDK's Runner itself."""

    answer: Callable[..., Any]
    #: Whether it wants the conversation as items, and not the last message as text.
    takes_items: bool
    takes_context: bool
    #: Agents of its file, for what people are told of it.
    known: tuple[Agent[Any], ...] = ()


@dataclass(frozen=True, slots=True)
class RunnerFactory:
    """Something that gives, for each run, an object with `run` or `run_streamed`."""

    make: Callable[[], Any]
    known: tuple[Agent[Any], ...] = ()


Export = Agent[Any] | Factory | Helper | RunnerFactory


def export_of(module: ModuleType) -> Export:
    """What a file offers.

    Raises:
        NoExportError: nothing, or too much.
    """
    for find in _KINDS:
        if (found := find(module)) is not None:
            return found
    raise NoExportError(
        "the file has no `agent`: neither an Agent, nor a function that makes one "
        f"({', '.join(FACTORIES[1:])}), nor one that runs one ({', '.join(HELPERS)})."
    )


def known_to(export: Export) -> list[Agent[Any]]:
    """The agents that are known before a run, the first one first."""
    if isinstance(export, Agent):
        return reachable(export)
    if isinstance(export, Factory):
        return []
    found: list[Agent[Any]] = []
    for one in export.known:
        found += [each for each in reachable(one) if not any(each is known for known in found)]
    return found


def context_factory(module: ModuleType) -> ContextFactory | None:
    """What makes the context of each run, where the agent has a class of its own for it.

    Raises:
        NoExportError: it wants more than a RunContext.
    """
    for name in CONTEXTS:
        if (function := _own_function(module, name)) is not None:
            parameters = _parameters(function)
            _refuse_more(name, function, parameters[1:], "a baton.RunContext and no more")
            return ContextFactory(function, takes_context=bool(parameters))
    return None


def shared_servers(module: ModuleType) -> list[MCPServer]:
    """The MCP servers that all runs of this code share.

    Raises:
        NoExportError: something else is among them.
    """
    named = vars(module).get(SHARED_SERVERS, ())
    if isinstance(named, (list, tuple)) and all(isinstance(one, MCPServer) for one in named):
        return list(named)
    raise NoExportError(f"`{SHARED_SERVERS}` has to be a list of MCP servers.")


# ---------------------------------------------------------------------------------- by name
def _named_agent(module: ModuleType) -> Export | None:
    named = (vars(module).get(name) for name in AGENTS)
    return next((one for one in named if isinstance(one, Agent)), None)


def _factory(module: ModuleType) -> Export | None:
    for name in FACTORIES:
        if (function := _own_function(module, name)) is not None:
            return Factory(function, takes_context=_one_context(function, name))
    return None


def _helper(module: ModuleType) -> Export | None:
    for name in HELPERS:
        function = _own_function(module, name)
        if function is not None and _parameters(function):  # `main()` is what a script begins with
            return helper_of(function, name, _roots(module))
    return None


def helper_of(
    function: Callable[..., Any], name: str, known: tuple[Agent[Any], ...] = ()
) -> Helper:
    """A function as a helper.

    Raises:
        NoExportError: it wants more than what was said and the run's context.
    """
    first, *more = _parameters(function)
    context = bool(more) and _is_context(more[0], function)
    _refuse_more(name, function, more[int(context) :], "what was said and a baton.RunContext")
    wanted = _annotated(first, function)
    items = wanted is not str and str(wanted).removeprefix("<class '").startswith(
        ("list", "typing.List", "collections.abc.Sequence")
    )
    return Helper(function, takes_items=items, takes_context=context, known=known)


def _runner(module: ModuleType) -> Export | None:
    for name in RUNNERS:
        made = vars(module).get(name)
        if runs(made):
            return RunnerFactory(partial(_same, made), known=_roots(module))
        if (function := _own_function(module, name)) is not None:
            if _parameters(function):
                raise NoExportError(f"`{name}` may take no parameters.")
            return RunnerFactory(function, known=_roots(module))
    return None


def _same(value: Any) -> Any:
    return value


def runs(value: Any) -> bool:
    """Whether it can be asked to run."""
    return any(callable(getattr(value, one, None)) for one in ("run_streamed", "run"))


# ---------------------------------------------------------------------------------- by content
def _only_root(module: ModuleType) -> Export | None:
    roots = _roots(module)
    if len(roots) < 2:
        return roots[0] if roots else None
    names = {id(one): name for name, one in vars(module).items()}
    found = ", ".join(f"`{names[id(one)]}`" for one in roots)
    raise NoExportError(f"the file has {len(roots)} agents ({found}): call the first one `agent`.")


def _roots(module: ModuleType) -> tuple[Agent[Any], ...]:
    """Agents that no other one hands off to or uses as a tool; all of them, where each is one's."""
    found: list[Agent[Any]] = []
    for one in vars(module).values():
        if isinstance(one, Agent) and not any(one is known for known in found):
            found.append(one)
    below = [inner for one in found for inner in reachable(one)[1:]]
    roots = [one for one in found if not any(one is inner for inner in below)]
    return tuple(roots or found)


#: In this order: what has a name that says what it is comes before what has none, an agent before
#: what makes one, and a function that runs agents before the agents it runs.
_KINDS: tuple[Callable[[ModuleType], Export | None], ...] = (
    _named_agent,
    _factory,
    _helper,
    _runner,
    _only_root,
)


# ---------------------------------------------------------------------------------- parameters
def _own_function(module: ModuleType, name: str) -> FunctionType | None:
    """A function of the agent's own code: `run` may also be one that was imported."""
    found = vars(module).get(name)
    package = module.__name__.rpartition(".")[0]
    own = isinstance(found, FunctionType) and found.__module__.startswith(f"{package}.")
    return found if own else None


def _one_context(function: Callable[..., Any], name: str) -> bool:
    parameters = _parameters(function)
    takes = bool(parameters) and _is_context(parameters[0], function)
    _refuse_more(name, function, parameters[int(takes) :], "a baton.RunContext and no more")
    return takes


def _refuse_more(
    name: str, function: Callable[..., Any], rest: list[inspect.Parameter], takes: str
) -> None:
    only = inspect.Parameter.KEYWORD_ONLY
    rest = rest + [one for one in _signature(function) if one.kind is only]
    if needed := [one.name for one in rest if one.default is one.empty]:
        raise NoExportError(f"`{name}` may take {takes}; nobody can tell it `{needed[0]}`.")


def _is_context(parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    return _annotated(parameter, function) is RunContext or parameter.name in _CONTEXTS


def _annotated(parameter: inspect.Parameter, function: Callable[..., Any]) -> Any:
    try:
        return get_type_hints(function).get(parameter.name)
    except Exception:  # noqa: BLE001 - annotations are others' code
        return parameter.annotation


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Those that are given by position."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [one for one in _signature(function) if one.kind in kinds]


def _signature(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())
