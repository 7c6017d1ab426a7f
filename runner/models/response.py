"""Responses of models: as the journal keeps them, and what they say."""

from typing import Any

from agents import Usage
from agents.usage import _response_usage_to_usage
from openai.types.responses import Response

from runner.translate import CALLS
from shared.errors import BatonError
from shared.protocol.codes import Code

NOTHING_SAID = (
    "The model server answered without any content. Servers that do not know the requested API or "
    "model sometimes do so: check OPENAI_BASE_URL, AGENT_MODEL and AGENT_FORCE_CHAT_COMPLETIONS."
)

#: More than JSON's readers take for a whole number is no count.
_MOST_TOKENS = 2**53


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
    return all(item.type == "message" for item in response.output) and not _speaks(response)


def is_answer(response: Response) -> bool:
    """Whether a response has text, or a refusal, and calls nothing."""
    return _speaks(response) and not any(item.type in CALLS for item in response.output)


def _speaks(response: Response) -> bool:
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    return any(getattr(one, "text", "") or getattr(one, "refusal", "") for one in parts)


def usage_of(response: Response) -> dict[str, int]:
    """Tokens in AG-UI's words; what the server did not give, or not as a count, is left out."""
    usage = response.usage
    if usage is None or not (usage.input_tokens or usage.output_tokens):
        return {}
    asked = getattr(usage, "input_tokens_details", None)
    answered = getattr(usage, "output_tokens_details", None)
    given = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "reasoningTokens": getattr(answered, "reasoning_tokens", None) or None,
        "cachedInputTokens": getattr(asked, "cached_tokens", None) or None,
    }
    counted = {name: _count(value) for name, value in given.items()}
    return {name: count for name, count in counted.items() if count is not None}


def _count(value: Any) -> int | None:
    fits = isinstance(value, int | float) and 0 <= value <= _MOST_TOKENS
    return int(value) if fits else None


def sdk_usage(response: Response) -> Usage:
    """The SDK's own count of a response, as in a streamed run."""
    return _response_usage_to_usage(response.usage) if response.usage else Usage()


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
