"""Approvals: what a run asks people before a call is carried out, and how their answers enter.

A decision enters by the SDK's own `approve_tool` and `reject_tool`, when the model's response is
handed out and before any tool of that turn begins. So everything after it is the SDK's, live and
in a replay. It counts for the arguments that the person was shown, and for no others.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from agents import Agent, FunctionTool, ModelResponse, RunContextWrapper
from agents.items import ToolApprovalItem
from pydantic import BaseModel

from runner.models.digest import call_digest, digest_of
from runner.scope import Scope
from shared.errors import BatonError
from shared.protocol.codes import Code
from shared.protocol.ids import new_id, place_of
from shared.protocol.record import Asked, Decision, InterruptReason

#: What clients may answer.
ANSWER = {
    "type": "object",
    "properties": {
        "approved": {"type": "boolean"},
        "message": {"type": "string", "description": "What the model is told of a refusal."},
    },
    "required": ["approved"],
}
#: And of a tool of their own.
RESULT = {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]}
#: Characters of arguments that are shown with the question; the call's own events have them all.
SHOWN_CHARS = 16_384
#: How the SDK names tools whose calls do not.
_NAMES = {
    "shell_call": "shell",
    "apply_patch_call": "apply_patch",
    "local_shell_call": "local_shell",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked about a call: for SQL, and as clients are told it."""

    record: Asked
    call_id: str | None
    subagent: str | None

    @property
    def event(self) -> dict[str, Any]:
        """AG-UI's Interrupt."""
        one = self.record
        of_client = one.reason == InterruptReason.CLIENT_TOOL
        asks = f"{one.agent} asks whether it may call {one.tool}."
        event: dict[str, Any] = {
            "id": one.id,
            "reason": one.reason,
            "message": f"{one.agent} calls {one.tool}, which the client has."
            if of_client
            else asks,
            "responseSchema": RESULT if of_client else ANSWER,
            "metadata": {
                "baton": {
                    "tool": one.tool,
                    "agent": one.agent,
                    # Who carries it out needs all of them.
                    "arguments": one.arguments[: None if of_client else SHOWN_CHARS],
                }
            },
        }
        if self.call_id is not None:
            event["toolCallId"] = self.call_id
        if self.subagent is not None:
            event["subagentRunId"] = self.subagent
        return event


class _Call(NamedTuple):
    """A call that some model has made: where, and the digest of what it asks for."""

    scope: Scope
    digest: str
    item: Any


class Approvals:
    """What people have decided about one run's calls, and what it asks them."""

    def __init__(self, decisions: Iterable[Decision]) -> None:
        self._decisions = {(one.scope, one.call_id): one for one in decisions}
        self._calls: dict[str, _Call] = {}

    def decide(
        self, scope: Scope, context: RunContextWrapper[Any], agent: Agent[Any], said: ModelResponse
    ) -> None:
        """Tell the SDK what was decided about the calls of a response."""
        items: list[Any] = said.output
        for item in items:
            call_id = _id_of(item)
            if call_id is None:
                continue
            call = self._calls[call_id] = _Call(scope, _digest_of(item), item)
            decision = self._decisions.get((scope.name, place_of(call_id)))
            if decision is None or decision.digest != call.digest:
                continue
            asked = ToolApprovalItem(agent, item, _NAMES.get(item.type))
            if decision.approved:
                context.approve_tool(asked)
            else:
                context.reject_tool(asked, rejection_message=decision.message)

    def result_of(self, scope: str, call_id: str) -> str:
        """What a client has told as the result of a call that was let through."""
        return self._decisions[scope, place_of(call_id)].message or ""

    def questions(
        self, interruptions: Sequence[ToolApprovalItem], of_client: Iterable[FunctionTool] = ()
    ) -> tuple[Question, ...]:
        """What a run ends with that cannot go on without these; some tools may be its client's.

        Raises:
            BatonError: `agent_error`, the agent's code has made up a call that no model made.
        """
        names = {one.name for one in of_client}
        return tuple(self._question(one, names) for one in interruptions)

    def _question(self, item: ToolApprovalItem, of_client: Collection[str]) -> Question:
        call_id = item.call_id
        call = self._calls.get(call_id or "")
        if call is None or call_id is None:
            raise BatonError(
                Code.AGENT_ERROR, f"{item.name!r} needs an approval, and no model has called it."
            )
        theirs = call.item.type == "function_call" and not call.scope.nested
        record = Asked(
            id=new_id("int"),
            reason=(
                InterruptReason.CLIENT_TOOL
                if theirs and item.name in of_client
                else InterruptReason.APPROVAL
            ),
            scope=call.scope.name,
            call_id=place_of(call_id),
            agent=item.agent.name,
            tool=item.name or _NAMES.get(call.item.type) or call.item.type,
            arguments=_arguments_of(call.item),
            digest=call.digest,
        )
        hosted = call.item.type == "mcp_approval_request"
        return Question(record, None if hosted else call_id, call.scope.left_as)


def _id_of(item: Any) -> str | None:
    """The id by which the SDK knows a call that may need an approval."""
    named = item.id if item.type == "mcp_approval_request" else getattr(item, "call_id", None)
    return named if isinstance(named, str) and not item.type.endswith("_output") else None


def _digest_of(item: Any) -> str:
    if item.type == "function_call":
        return call_digest(item.name, item.arguments)
    return digest_of(item.type, [item])


def _arguments_of(item: Any) -> str:
    """What a call asks for, as text that SQL can hold."""
    found = next(
        (
            value
            for name in ("arguments", "input", "action", "operation")
            if (value := getattr(item, name, None)) is not None
        ),
        "",
    )
    if isinstance(found, BaseModel):
        found = found.model_dump(mode="json", exclude_none=True, warnings=False)
    text = found if isinstance(found, str) else orjson.dumps(found).decode()
    return text.encode(errors="replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
