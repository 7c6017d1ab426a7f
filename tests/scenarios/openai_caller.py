"""A caller of `/v1`: the official client, and plain HTTP beside it."""

import json
from typing import Any

import httpx
import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from tests.scenarios.client import PATIENCE_S


class Caller:
    """Ada with a key, at one gateway: the official client, and plain HTTP beside it."""

    def __init__(self, url: str, key: str) -> None:
        self.client = openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE_S
        )
        self.http = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {key}"},
            trust_env=False,
            timeout=PATIENCE_S,
        )

    async def ask(self, text: str, **more: Any) -> ChatCompletion:
        answer = await self.client.chat.completions.create(
            model="Assistant", messages=[says(text)], **more
        )
        assert isinstance(answer, ChatCompletion)
        return answer

    async def close(self) -> None:
        await self.client.close()
        await self.http.aclose()


def says(text: str) -> ChatCompletionMessageParam:
    return {"role": "user", "content": text}


def lines_of(body: str) -> list[str]:
    """The stream's events; each is one line `data: …` and an empty one."""
    assert body.endswith("\n\n")
    found = body.removesuffix("\n\n").split("\n\n")
    assert all("\n" not in one for one in found)
    return [one for one in found if not one.startswith(":")]


def chunks_of(body: str) -> list[dict[str, Any]]:
    *chunks, done = lines_of(body)
    assert done == "data: [DONE]"
    return [json.loads(one.removeprefix("data: ")) for one in chunks]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(
        choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]
    )


def body(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "Assistant", "messages": [says(text)], **more}
