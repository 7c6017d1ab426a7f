"""LangChain's ChatOpenAI."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

from matrix.probe.client import EVENT, Client, headers
from matrix.probe.rest import BASE, KEY


class LangChain(Client):
    """Chat completions."""

    leaving = "the iterator of `stream()` is closed"

    def __init__(self) -> None:
        self.version = version("langchain-openai")

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        return str(_asked(model, key).invoke(text).content)

    def structured(self, model: str, text: str) -> str:
        asked = _asked(model, None).with_structured_output(EVENT, method="json_schema")
        return json.dumps(asked.invoke(text))

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        for chunk in _asked(model, key).stream(text):
            yield str(chunk.content)


def _asked(model: str, key: str | None) -> Any:
    return ChatOpenAI(model=model, base_url=BASE, api_key=KEY, default_headers=headers(key))
