"""What a client asks of a run's answers: how long they may get, and where they stop.

It holds for each model call of the agent that the run began with, and of those it hands off to;
what their tools ask of models is their own. An agent's own, smaller limit stays. OpenAI's Responses
know no `stop`, so that only a server of Chat Completions is told of it.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from agents import Model, ModelSettings

from runner.models.detect import speaks_chat

#: Why a model ends an answer before its end: in the words of the Responses API.
TOO_LONG, FILTERED = "max_output_tokens", "content_filter"
#: The same in the words of Chat Completions.
OF_CHAT = {"length": TOO_LONG, "content_filter": FILTERED}


def limits_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """What the gateway has stored with a run's input: `maxTokens` and `stop`, where asked for."""
    return given.get("limits") or {}


async def within(settings: ModelSettings, limits: Mapping[str, Any], model: Model) -> ModelSettings:
    """An agent's settings for one call, within its client's limits.

    Raises:
        openai.APIError: the server does not say what it speaks.
    """
    most, stop = limits.get("maxTokens"), limits.get("stop")
    if most is not None:
        own = settings.max_tokens
        settings = replace(settings, max_tokens=most if own is None else min(own, most))
    if stop and await speaks_chat(model):
        settings = replace(settings, extra_args={**(settings.extra_args or {}), "stop": stop})
    return settings


def why_cut(event: Any, limits: Mapping[str, Any]) -> str | None:
    """Why a server of Responses has ended an answer early, where that is an answer all the same.

    It is one where the client has asked for a limit, or the text was filtered; otherwise nobody
    would know that it lacks its end. A call that lacks its end is never carried out.
    """
    if event.type != "response.incomplete":
        return None
    reason = getattr(getattr(event.response, "incomplete_details", None), "reason", None)
    expected = reason == FILTERED or (reason == TOO_LONG and "maxTokens" in limits)
    return reason if expected else None
