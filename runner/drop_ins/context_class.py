"""For which context class an agent is written, as far as its annotations tell.

Looked at are `Agent[MyContext]`, and what instructions, tools, hooks, guardrails and predicates say
of their `RunContextWrapper`. Code without annotations takes what it gets: a `baton.RunContext`.
"""

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

from agents import Agent, FunctionTool, RunContextWrapper

from baton import RunContext
from runner.drop_ins.exports import CONTEXTS, ContextFactory, NoExportError


def require_context(agents: Iterable[Agent[Any]], factory: ContextFactory | None) -> None:
    """Refuse agents that want a context class of their own, where nothing makes one.

    Raises:
        NoExportError: names the class, and what to write.
    """
    if factory is not None:
        return
    for agent in agents:
        if (wanted := wanted_by(agent)) is not None:
            name = wanted.__qualname__
            raise NoExportError(
                f"the agent {agent.name!r} is written for the context class {name}, and the file "
                f"has no function that makes one: write `def {CONTEXTS[0]}(run: baton.RunContext) "
                f"-> {name}`."
            )


def wanted_by(agent: Agent[Any]) -> type | None:
    """The class of its own that an agent wants as context; `None` where a RunContext will do."""
    declared = get_args(getattr(agent, "__orig_class__", None))
    for hint in [*declared[:1], *_hinted(agent)]:
        wanted = get_origin(hint) or hint
        if isinstance(wanted, type) and not _will_do(wanted):
            return wanted
    return None


def _will_do(wanted: type) -> bool:
    """Whether a RunContext is one, or none is wanted at all."""
    if wanted is Any or wanted is type(None):
        return True
    try:
        return issubclass(RunContext, wanted)
    except TypeError:  # a protocol that only type checkers read
        return True


def _hinted(agent: Agent[Any]) -> Iterator[Any]:
    for base in getattr(type(agent.hooks), "__orig_bases__", ()):
        yield from get_args(base)[:1]
    for function in _functions(agent):
        try:
            hints = get_type_hints(function)
        except Exception:  # noqa: BLE001, S112 - annotations are others' code
            continue
        for hint in hints.values():
            origin = get_origin(hint)
            if isinstance(origin, type) and issubclass(origin, (RunContextWrapper, Agent)):
                yield from get_args(hint)[:1]


def _functions(agent: Agent[Any]) -> Iterator[Any]:
    """What of the author's gets the context."""
    found: list[Any] = [agent.instructions, agent.prompt]
    for tool in agent.tools:
        if isinstance(tool, FunctionTool):
            found += [getattr(tool, "__wrapped__", None), tool.is_enabled, tool.needs_approval]
    guards: list[Any] = [*agent.input_guardrails, *agent.output_guardrails]
    found += [getattr(one, "guardrail_function", None) for one in guards]
    found += [getattr(one, "is_enabled", None) for one in agent.handoffs]
    found += [
        getattr(type(agent.hooks), name, None) for name in dir(agent.hooks) if name[:3] == "on_"
    ]
    return (one for one in found if inspect.isroutine(one))
