"""Which API a model server speaks: Responses, or Chat Completions alone.

An empty request tells: a server that has Responses misses something in it, one that has not knows
no such place. LM Studio, for one, says the latter with status 200. It is asked before the first
call, and again when the answer is old, for another server may have taken its place.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, Literal

import httpx2
import openai
import orjson
from agents import Model, ModelResponse, OpenAIChatCompletionsModel, OpenAIResponsesModel
from openai import AsyncOpenAI

Api = Literal["responses", "chat"]

#: An answer is believed for so long.
BELIEVED_S = 3600.0
#: A server that has nothing to do says so at once.
ASKING_S = 10.0
_OPENAI = "api.openai.com"

#: The SDK's model for each API.
MODELS: dict[str, Callable[..., Model]] = {
    "responses": OpenAIResponsesModel,
    "chat": OpenAIChatCompletionsModel,
}


class Spoken:
    """What each server speaks, by its base URL, as far as it is known in this process."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, tuple[Api, float]] = {}
        self._asking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def by(self, client: AsyncOpenAI) -> Api:
        """What the client's server speaks; those who ask at the same time wait for one answer.

        Raises:
            openai.APIError: the server says neither.
        """
        host = client.base_url.host
        if host == _OPENAI or host.endswith(f".{_OPENAI}"):
            return "responses"
        at = str(client.base_url)
        async with self._asking[at]:
            known = self._known.get(at)
            if known is None or known[1] <= self._clock():
                known = await _asked(client), self._clock() + BELIEVED_S
                self._known[at] = known
        return known[0]


async def _asked(client: AsyncOpenAI) -> Api:
    silence_s = client.timeout.read if isinstance(client.timeout, httpx2.Timeout) else None
    timeout = min(ASKING_S, silence_s or ASKING_S)
    try:
        answer = await client.post(
            "/responses", body={}, cast_to=httpx2.Response, options={"timeout": timeout}
        )
    except openai.APIStatusError as error:
        if error.status_code in (404, 405, 501):
            return "chat"
        if error.status_code in (400, 422):
            return "responses"
        raise
    return "chat" if _is_error(answer.content) else "responses"


def _is_error(body: bytes) -> bool:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return True
    return not isinstance(said, dict) or bool(said.get("error"))


class DetectedModel(Model):
    """A model at a server that is asked what it speaks."""

    def __init__(self, model: str, client: AsyncOpenAI, spoken: Spoken) -> None:
        self.model = model
        self._client, self._spoken = client, spoken
        self._models = {
            api: made(model=model, openai_client=client) for api, made in MODELS.items()
        }

    async def get_response(self, *args: Any, **kwargs: Any) -> ModelResponse:
        """See Model."""
        return await (await self._fitting()).get_response(*args, **kwargs)

    async def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """See Model."""
        stream: Any = (await self._fitting()).stream_response(*args, **kwargs)
        async with aclosing(stream) as events:
            async for event in events:
                yield event

    def get_retry_advice(self, request: Any) -> Any:
        """Both say the same."""
        return self._models["chat"].get_retry_advice(request)

    async def spoken(self) -> Api:
        """What the server speaks; see Spoken."""
        return await self._spoken.by(self._client)

    async def _fitting(self) -> Model:
        return self._models[await self.spoken()]


async def speaks_chat(model: Model) -> bool:
    """Whether a model is called over Chat Completions.

    Raises:
        openai.APIError: its server does not say.
    """
    if isinstance(model, DetectedModel):
        return await model.spoken() == "chat"
    return isinstance(model, OpenAIChatCompletionsModel)
