"""openai-python."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import openai

from matrix.probe.client import EVENT, Client, Question, headers
from matrix.probe.rest import BASE, KEY

SHAPE: Any = {"name": "Event", "strict": True, "schema": EVENT}


class OpenAIChat(Client):
    """Chat completions."""

    leaving = "`stream.close()`"

    def __init__(self) -> None:
        self.version = openai.__version__
        self._client = openai.OpenAI(base_url=BASE, api_key=KEY)

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        made = self._client.chat.completions.create(
            model=model, messages=_said(text), extra_headers=headers(key)
        )
        return made.choices[0].message.content or ""

    def structured(self, model: str, text: str) -> str:
        form: Any = {"type": "json_schema", "json_schema": SHAPE}
        made = self._client.chat.completions.create(
            model=model, messages=_said(text), response_format=form
        )
        return made.choices[0].message.content or ""

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        with self._client.chat.completions.create(
            model=model, messages=_said(text), stream=True, extra_headers=headers(key)
        ) as chunks:
            for chunk in chunks:
                yield chunk.choices[0].delta.content or "" if chunk.choices else ""


class OpenAIResponses(OpenAIChat):
    """Responses."""

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        made = self._client.responses.create(model=model, input=text, extra_headers=headers(key))
        return made.output_text

    def structured(self, model: str, text: str) -> str:
        form: Any = {"format": {"type": "json_schema", **SHAPE}}
        return self._client.responses.create(model=model, input=text, text=form).output_text

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        with self._client.responses.create(
            model=model, input=text, stream=True, extra_headers=headers(key)
        ) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    yield event.delta

    def stops(self) -> Mapping[str, Callable[[str], object]]:
        return {
            "`responses.cancel`": lambda run: self._client.responses.cancel(f"resp_{run}"),
            "`responses.delete`": lambda run: self._client.responses.delete(f"resp_{run}"),
        }

    def question(self, model: str, text: str) -> Question:
        made = self._client.responses.create(model=model, input=text)
        asked = [one for one in made.output if one.type == "mcp_approval_request"]

        def approve() -> str:
            decided: Any = [
                {"type": "mcp_approval_response", "approval_request_id": one.id, "approve": True}
                for one in asked
            ]
            return self._client.responses.create(
                model=model, previous_response_id=made.id, input=decided
            ).output_text

        words = json.dumps([[one.name, one.arguments] for one in asked])
        return Question(text=words, means="`mcp_approval_response`", approve=approve)


def _said(text: str) -> Any:
    return [{"role": "user", "content": text}]
