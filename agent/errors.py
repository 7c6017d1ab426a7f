"""What can go wrong for whoever types: one sentence, and what to do about it."""

import traceback
from pathlib import Path

from shared.errors import BatonError
from shared.protocol.codes import Code

_HERE = Path(__file__).parent
FAILED, USAGE, WAITS, INTERRUPTED = 1, 2, 3, 130


class CliError(Exception):
    """Ends a command in words. `status` is the exit status, `code` is for programs."""

    def __init__(
        self, message: str, hint: str | None = None, *, code: str = "failed", status: int = FAILED
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code
        self.status = status


class UsageError(CliError):
    """The command line or a setting is not what it should be."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint, code="usage", status=USAGE)


class UnexpectedError(CliError):
    """Our own mistake, or an answer that no gateway of this version gives."""

    def __init__(self, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if Path(frame.filename).parent == _HERE]
        place = f" in {_HERE.name}/{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else ""
        # The error's own text stays unsaid: it may quote what was sent.
        super().__init__(
            f"Something went wrong that should not: {type(error).__name__}{place}.",
            "If gateway and command line are of the same version, please report it.",
            code="internal",
        )


class AwayError(CliError):
    """No gateway answers."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"No gateway answers at {url}.",
            "Start one with `python3 dev.py up --demo`, or name another with --url or BATON_URL.",
            code="away",
        )


class NoGatewayError(CliError):
    """Something answers, but not in our words."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"What answers at {url} is not a Baton gateway of this version ({what}).",
            "Name another with --url or BATON_URL.",
            code="no_gateway",
        )


class RefusedError(CliError):
    """The gateway said no, with a code."""

    def __init__(self, code: str, message: str, request_id: str | None = None) -> None:
        super().__init__(message, _HINTS.get(code), code=code)
        if code == Code.INTERNAL and request_id:
            self.hint = f"The gateway's log has more under request {request_id}."

    @classmethod
    def of(cls, error: BatonError) -> "RefusedError":
        """The same for what we found out ourselves."""
        return cls(error.code, error.message)


_HINTS: dict[str, str] = {
    Code.NOT_SIGNED_IN: "Sign in with `baton login`, or set BATON_API_KEY to a valid key.",
    Code.FORBIDDEN: "Ask an admin.",
    Code.NOT_FOUND: "`baton threads`, `runs`, `files` and `keys` list what there is.",
    Code.BAD_CURSOR: "Take one that was printed for this very run or list, or leave it out.",
    Code.BUSY: "Wait for the other run, or cancel it.",
    Code.RATE_LIMITED: "Wait a little.",
    Code.UNAVAILABLE: "Try again; `baton status` tells how the gateway is.",
}
