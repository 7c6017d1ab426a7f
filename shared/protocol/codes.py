"""Every code that a client can meet: errors (frames, HTTP, RUN_ERROR) and closes of the socket.

One table each; code elsewhere refers to it, docs/protocol.md shows it, a test compares the two.
"""

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Close(IntEnum):
    """Why the gateway closed a socket."""

    TOO_BIG = 1009  #: a frame over 1 MiB
    RESTARTING = 1012  #: the gateway restarts; reconnect at once
    BAD_FRAME = 4400  #: not a JSON object, or binary
    NOT_SIGNED_IN = 4401  #: no sign-in, or it ended; sign in and resume
    BAD_ORIGIN = 4403  #: the page's origin is not on the list
    HEARTBEAT_MISSED = 4408  #: no ping for 45 s
    TOO_SLOW = 4429  #: the client does not read, or does too much at once


class Meaning(NamedTuple):
    """What a code means: HTTP status, whether trying again can help, and for people."""

    status: int
    retryable: bool
    text: str


class Code(StrEnum):
    """Codes of errors: a request is refused with one; a failed run carries one in RUN_ERROR."""

    BAD_FRAME = "bad_frame"
    UNKNOWN_OP = "unknown_op"
    BAD_INPUT = "bad_input"
    BAD_CURSOR = "bad_cursor"
    NOT_SIGNED_IN = "not_signed_in"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    GONE = "gone"
    UNKNOWN_AGENT = "unknown_agent"
    CONFLICT = "conflict"
    BUSY = "busy"
    DECISION_NEEDED = "decision_needed"
    NOT_RUNNING = "not_running"
    NOT_SUPPORTED = "not_supported"
    TOO_LARGE = "too_large"
    BAD_RANGE = "bad_range"
    QUOTA_EXCEEDED = "quota_exceeded"
    URL_REFUSED = "url_refused"
    RATE_LIMITED = "rate_limited"
    UNAVAILABLE = "unavailable"
    ANSWER_RESTARTED = "answer_restarted"
    CANCELLED = "cancelled"
    INTERNAL = "internal"
    FENCED = "fenced"
    GAP = "gap"
    # A run failed:
    AGENT_ERROR = "agent_error"
    GUARDRAIL = "guardrail_tripped"
    MAX_TURNS = "max_turns"
    MEDIA_NOT_SUPPORTED = "media_not_supported"
    JOURNAL_DIVERGED = "journal_diverged"
    AGENT_CHANGED = "agent_changed"
    NO_RUN_CONTEXT = "no_run_context"
    INVALID_STATE = "invalid_state"
    POISONED = "poisoned"
    TOOL_UNKNOWN = "tool_unknown"
    TOOL_ARGUMENTS = "tool_invalid_arguments"
    TOOL_FAILED = "tool_failed"
    TOOL_TIMEOUT = "tool_timeout"
    TOOL_TOO_LARGE = "tool_result_too_large"
    TOOL_OUTCOME_UNKNOWN = "tool_outcome_unknown"
    MCP_UNAVAILABLE = "mcp_unavailable"
    UPSTREAM_AUTH = "upstream_auth"
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_REFUSED = "upstream_refused"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    UPSTREAM_INVALID = "upstream_invalid"
    CONTEXT_LENGTH = "context_length_exceeded"


MEANINGS: dict[Code, Meaning] = {
    Code.BAD_FRAME: Meaning(400, False, "The frame is not what the protocol allows."),
    Code.UNKNOWN_OP: Meaning(400, False, "The protocol has no such op."),
    Code.BAD_INPUT: Meaning(422, False, "A field is missing, of the wrong type or not allowed."),
    Code.BAD_CURSOR: Meaning(
        400, False, "The cursor is malformed, lies in the future or before what is kept."
    ),
    Code.NOT_SIGNED_IN: Meaning(401, False, "Sign in first, or send a valid key."),
    Code.FORBIDDEN: Meaning(403, False, "This sign-in or key may not do that."),
    Code.NOT_FOUND: Meaning(404, False, "There is nothing by this id, or it is not yours."),
    Code.GONE: Meaning(410, False, "It was deleted: it is older than what is kept here."),
    Code.UNKNOWN_AGENT: Meaning(404, False, "No runner serves an agent of this name."),
    Code.CONFLICT: Meaning(409, False, "The id is taken by something with another content."),
    Code.BUSY: Meaning(409, True, "The thread has a run, and the request asked not to wait."),
    Code.DECISION_NEEDED: Meaning(
        409, False, "The thread waits for a decision; nothing else goes on in it until then."
    ),
    Code.NOT_RUNNING: Meaning(409, False, "There is no run that could do this."),
    Code.NOT_SUPPORTED: Meaning(422, False, "This is not supported here."),
    Code.TOO_LARGE: Meaning(413, False, "The body is larger than allowed."),
    Code.BAD_RANGE: Meaning(416, False, "There are no such bytes."),
    Code.QUOTA_EXCEEDED: Meaning(
        413, False, "Your files would take more room than you have; delete some first."
    ),
    Code.URL_REFUSED: Meaning(400, False, "Nothing is fetched from a URL; send the bytes."),
    Code.RATE_LIMITED: Meaning(429, True, "Too many requests; wait a little."),
    Code.UNAVAILABLE: Meaning(503, True, "A store is away; nothing was done. Try again."),
    Code.ANSWER_RESTARTED: Meaning(
        409, True, "The answer was begun anew after a part of it had been sent; ask again for it."
    ),
    Code.CANCELLED: Meaning(409, False, "Somebody stopped the run before it had an answer."),
    Code.INTERNAL: Meaning(500, True, "Something is wrong here; the request id leads to the log."),
    Code.FENCED: Meaning(409, False, "Another claim of the thread has taken over."),
    Code.GAP: Meaning(409, False, "A commit before this one is missing."),
    Code.AGENT_ERROR: Meaning(500, False, "The agent's own code failed."),
    Code.GUARDRAIL: Meaning(422, False, "A guardrail of the agent stopped the run."),
    Code.MAX_TURNS: Meaning(422, False, "The run needed more turns than allowed."),
    Code.MEDIA_NOT_SUPPORTED: Meaning(422, False, "The model does not read such files."),
    Code.JOURNAL_DIVERGED: Meaning(
        500, False, "The agent's code did not repeat what it did before; it must be deterministic."
    ),
    Code.AGENT_CHANGED: Meaning(
        409, False, "The agent's code has changed since the run began, and the old code is gone."
    ),
    Code.NO_RUN_CONTEXT: Meaning(500, False, "The agent's code called the SDK outside its run."),
    Code.INVALID_STATE: Meaning(500, False, "Stored data of the run cannot be read."),
    Code.POISONED: Meaning(
        500, False, "The run ended every process that carried it; an operator has to look into it."
    ),
    Code.TOOL_UNKNOWN: Meaning(404, False, "There is no tool of this name."),
    Code.TOOL_ARGUMENTS: Meaning(422, False, "The tool's arguments do not fit its schema."),
    Code.TOOL_FAILED: Meaning(500, False, "The tool failed."),
    Code.TOOL_TIMEOUT: Meaning(504, False, "The tool took too long."),
    Code.TOOL_TOO_LARGE: Meaning(500, False, "The tool's result is too large."),
    Code.MCP_UNAVAILABLE: Meaning(
        502, False, "An MCP server of the agent's code cannot be reached, or fails."
    ),
    Code.TOOL_OUTCOME_UNKNOWN: Meaning(
        409,
        False,
        "Whether the tool took effect is not known, and it is not run again by itself: "
        "an admin has to say what became of it.",
    ),
    Code.UPSTREAM_AUTH: Meaning(502, False, "The model server refused our key."),
    Code.UPSTREAM_RATE_LIMITED: Meaning(502, True, "The model server limits our requests."),
    Code.UPSTREAM_REFUSED: Meaning(502, False, "The model server refused the request."),
    Code.UPSTREAM_UNAVAILABLE: Meaning(502, True, "The model server failed or is not there."),
    Code.UPSTREAM_TIMEOUT: Meaning(504, True, "The model server did not answer in time."),
    Code.UPSTREAM_INVALID: Meaning(502, True, "The model server's answer makes no sense."),
    Code.CONTEXT_LENGTH: Meaning(422, False, "The conversation is too long for the model."),
}
