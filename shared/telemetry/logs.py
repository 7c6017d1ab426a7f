"""Log lines: a fixed sentence with fields; JSON, or readable on a terminal.

Request, run, thread and a hash of the user are bound once and stand on every line below.
"""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog

from shared.settings.common import LogFormat, ProcessSettings
from shared.telemetry.redact import redact_value

#: Chatty libraries, whose lines say nothing that ours do not.
_QUIET = (
    *("httpx", "httpcore", "httpx2", "httpcore2", "openai", "openai.agents", "uvicorn.access"),
    "watchfiles",
)


#: How the SDK begins its line about a failed model call, which has no fact in it: the error is ours
#: to tell, with its code and the run.
_SAID_WITH_FACTS = ("Error streaming response", "Error getting response")


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of a module."""
    logger: structlog.stdlib.BoundLogger = structlog.get_logger(name)
    return logger


def user_hash(user: UUID) -> str:
    """Ten characters that tell users apart without naming them."""
    return sha256(user.bytes).hexdigest()[:10]


def bound(**fields: object) -> AbstractContextManager[None]:
    """Put fields on every line logged inside the block, tasks begun there included."""
    return structlog.contextvars.bound_contextvars(**fields)


def bind(**fields: object) -> None:
    """Put fields on every further line of this request."""
    structlog.contextvars.bind_contextvars(**fields)


def set_up_logging(process: str, settings: ProcessSettings) -> None:
    """Send every line of this process, libraries' lines included, to standard output."""
    as_json = settings.log_format is LogFormat.JSON or (
        settings.log_format is LogFormat.AUTO and not sys.stdout.isatty()
    )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _named(process),
        structlog.processors.format_exc_info if as_json else _leave,
        _without_secrets,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level]
        ),
        cache_logger_on_first_use=True,
    )
    renderer: Any = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stdout.isatty(),
            pad_event_to=0,
            # The default one shows local variables, secrets among them, and takes seconds for it.
            exception_formatter=structlog.dev.plain_traceback,
        )
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared)
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("openai.agents").addFilter(_says_something)


def _says_something(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(_SAID_WITH_FACTS)


def _named(process: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        event.setdefault("process", process)
        return event

    return add


def _leave(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    return event


def _without_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
    for key, value in event.items():
        if isinstance(value, (str, dict, list)):
            event[key] = redact_value(value)
    return event
