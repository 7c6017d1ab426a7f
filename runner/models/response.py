"""Responses of models: as the journal keeps them, and what they say."""

from typing import Any

from agents import Usage
from openai.types.responses import Response

from runner.translate import CALLS
from shared.errors import BatonError
from shared.protocol.codes import Code

NOTHING_SAID = (
    "The model server answered without any content. Servers that do not know the requested API or "
    "model sometimes do so: check OPENAI_BASE_URL, AGENT_MODEL and AGENT_FORCE_CHAT_COMPLETIONS."
)


def dumped(response: Response) -> dict[str, Any]:
    """A response as JSON, only with what the server sent."""
    return response.model_dump(mode="json", exclude_unset=True, warnings=False)


def rebuilt(plain: dict[str, Any]) -> Response:
    """The response again. Not validated: what third-party servers leave out must not matter."""
    return Response.construct(**plain)


def call_ids(record: dict[str, Any]) -> list[str]:
    """Ids of the tool calls in a recorded response."""
    output = record["response"].get("output", ())
    return [item["call_id"] for item in output if item.get("type") in CALLS]


def says_nothing(response: Response) -> bool:
    """Whether a response has neither text, nor a refusal, nor anything but messages.

    LM Studio, for one, answers requests that it does not understand with 200 and nothing in it.
    """
    for item in response.output:
        if item.type != "message":
            return False
        for part in item.content:
            if getattr(part, "text", "") or getattr(part, "refusal", ""):
                return False
    return True


def usage_of(response: Response) -> dict[str, int]:
    """Tokens in AG-UI's words; counts that the server did not give are left out."""
    usage = response.usage
    if usage is None or not (usage.input_tokens or usage.output_tokens):
        return {}
    found = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
    }
    details = getattr(usage, "output_tokens_details", None)
    if reasoning := getattr(details, "reasoning_tokens", None):
        found["reasoningTokens"] = reasoning
    details = getattr(usage, "input_tokens_details", None)
    if cached := getattr(details, "cached_tokens", None):
        found["cachedInputTokens"] = cached
    return found


def sdk_usage(response: Response) -> Usage:
    """The SDK's own count of a response."""
    usage = response.usage
    if usage is None:
        return Usage()
    return Usage(
        requests=1,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.total_tokens,
    )


def gave_up(event: Any) -> BatonError:
    """The error for a response that its server ended before it was complete."""
    if event.type == "response.failed":
        return BatonError(Code.UPSTREAM_UNAVAILABLE, "The model server gave up on its answer.")
    details = getattr(event.response, "incomplete_details", None)
    reason = getattr(details, "reason", None) or "no reason given"
    return BatonError(
        Code.UPSTREAM_INVALID,
        f"The model server stopped before its answer was complete ({reason}).",
    )
