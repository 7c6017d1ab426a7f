"""The Agents SDK, with an agent of ours for its model."""

import asyncio
from collections.abc import AsyncGenerator, Iterator
from importlib.metadata import version
from typing import Any

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, Runner, set_tracing_disabled
from openai import AsyncOpenAI

from matrix.probe.client import Client, headers
from matrix.probe.rest import BASE, KEY


class AgentsSdk(Client):
    """Chat completions, by its own Runner."""

    leaving = "`result.cancel()`"

    def __init__(self) -> None:
        set_tracing_disabled(disabled=True)
        self.version = version("openai-agents")
        self._loop = asyncio.new_event_loop()
        self._client = AsyncOpenAI(base_url=BASE, api_key=KEY)

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        asked = Runner.run(self._agent(model, key), text)
        return str(self._loop.run_until_complete(asked).final_output)

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        deltas = _deltas(self._agent(model, key), text)
        try:
            while (delta := self._loop.run_until_complete(_next(deltas))) is not None:
                yield delta
        finally:
            self._loop.run_until_complete(deltas.aclose())

    def close(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.close()

    def _agent(self, model: str, key: str | None) -> Agent[None]:
        settings = ModelSettings(extra_headers=headers(key))
        asked = OpenAIChatCompletionsModel(model, self._client)
        return Agent(name="Client", model=asked, model_settings=settings)


async def _next(deltas: AsyncGenerator[str, None]) -> str | None:
    return await anext(deltas, None)


async def _deltas(agent: Agent[None], text: str) -> AsyncGenerator[str, None]:
    result = Runner.run_streamed(agent, text)
    try:
        async for event in result.stream_events():
            data: Any = getattr(event, "data", None)
            if getattr(data, "type", None) == "response.output_text.delta":
                yield data.delta
    finally:
        result.cancel()
