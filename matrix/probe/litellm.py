"""LiteLLM as a library."""

from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import litellm  # type: ignore[import-not-found]

from matrix.probe.client import Client, headers
from matrix.probe.rest import BASE, KEY


class LiteLlm(Client):
    """Chat completions."""

    leaving = "`stream.close()`"

    def __init__(self) -> None:
        self.version = version("litellm")

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        return str(_made(model, text, key, stream=False).choices[0].message.content)

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        chunks = _made(model, text, key, stream=True)
        try:
            for chunk in chunks:
                yield chunk.choices[0].delta.content or ""
        finally:
            chunks.completion_stream.close()


def _made(model: str, text: str, key: str | None, *, stream: bool) -> Any:
    return litellm.completion(
        model=f"openai/{model}",
        api_base=BASE,
        api_key=KEY,
        messages=[{"role": "user", "content": text}],
        stream=stream,
        extra_headers=headers(key),
    )
