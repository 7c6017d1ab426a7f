"""Errors as the journal keeps them: code that caught one has to catch the same again in replay.

An error comes back without its class's own `__init__`, from a class that is loaded anyway. One that
would not come back as it was is not kept: whatever raised it is done again.
"""

import builtins
import sys
from types import ModuleType
from typing import Any

import openai
import orjson
from agents.exceptions import AgentsException

from runner import codec
from runner.models import errors as model_errors
from shared.errors import BatonError

#: Causes of causes that are kept.
MOST_CAUSES = 5
#: What the SDK notes on its errors, anew for each run that one passes through.
_OF_THE_SDK = frozenset({"run_data"})


def described(error: BaseException) -> dict[str, Any] | None:
    """What to keep of an error; `None` for one that could not be raised again as it is."""
    if isinstance(error, (openai.OpenAIError, BatonError)):
        return model_errors.described(error)
    try:
        kept = _plain(error)
    except Exception:  # noqa: BLE001 - an error's own methods are others' code
        return None
    if kept is not None and (cause := _cause(error, MOST_CAUSES)) is not None:
        kept["cause"] = cause
    return kept


def raised_again(kept: dict[str, Any]) -> Exception:
    """The error that was kept."""
    if "module" not in kept:
        return model_errors.raised_again(kept)
    try:
        error = _made(_class(kept["module"], kept["class"]), kept["args"], kept["state"])
    except Exception:  # noqa: BLE001 - other code than the one that kept it
        error = RuntimeError(kept["message"])
    if "cause" in kept:
        error.__cause__ = raised_again(kept["cause"])
    return error


def _cause(error: BaseException, most: int) -> dict[str, Any] | None:
    """The next cause that can be kept: a code of ours may be among them."""
    cause = error.__cause__
    while cause is not None and most:
        if (kept := described(cause)) is not None:
            return kept
        cause, most = cause.__cause__, most - 1
    return None


def _plain(error: BaseException) -> dict[str, Any] | None:
    kind = type(error)
    if _class(kind.__module__, kind.__qualname__) is not kind:
        return None
    kept = {
        "module": kind.__module__,
        "class": kind.__qualname__,
        "message": str(error),
        "args": codec.plain(_args(error)),
        "state": {name: codec.plain(one) for name, one in _state(error).items()},
    }
    try:
        text = orjson.dumps(kept)
    except TypeError:
        return None
    return kept if _is_same(raised_again(orjson.loads(text)), error) else None


def _is_same(again: Exception, error: BaseException) -> bool:
    return (
        type(again) is type(error)
        and str(again) == str(error)
        and again.args == error.args
        and _state(again) == _state(error)
    )


def _args(error: BaseException) -> tuple[Any, ...]:
    """What the class is called with: an error of a file has its name beside its arguments."""
    if isinstance(error, OSError) and error.filename is not None:
        return (*error.args, error.filename)
    return error.args


def _state(error: BaseException) -> dict[str, Any]:
    left_out = _OF_THE_SDK if isinstance(error, AgentsException) else ()
    return {name: one for name, one in vars(error).items() if name not in left_out}


def _class(module: str, name: str) -> type[Exception] | None:
    """A class by its name, if its module is loaded: nothing is imported for a record's sake."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if isinstance(found, (ModuleType, type)) else None
    return found if isinstance(found, type) and issubclass(found, Exception) else None


def _made(kind: type[Exception] | None, args: list[Any], state: dict[str, Any]) -> Exception:
    if kind is None:
        raise LookupError
    if kind.__module__ == builtins.__name__:
        error = kind(*args)
    else:
        error = kind.__new__(kind, *args)
        error.args = tuple(args)
        if isinstance(error, AgentsException):
            error.run_data = None
    error.__dict__.update(state)
    return error
