"""The model servers: one client for each provider, which speaks what the server speaks."""

import asyncio
import os
from typing import Any

import httpx2
from agents import Model, ModelProvider
from agents.exceptions import UserError
from openai import AsyncOpenAI

from runner.models.client import LeanClient
from runner.models.detect import MODELS, DetectedModel, Spoken
from runner.models.gate import Gates
from runner.models.journaled import JournaledModel
from runner.models.retry import details_of
from runner.models.transport import LeanHttpClient
from shared.settings import RunnerSettings
from shared.settings.models import ModelsConfig, Provider
from shared.telemetry.logs import get_logger

log = get_logger(__name__)

#: Without a key the client would refuse to be made; a server that wants one answers 401.
NO_KEY = "none"
CONNECT_S = 5.0
#: Connections outlive the pauses of a conversation.
KEEPALIVE_S = 60.0


def make_client(settings: RunnerSettings, provider: Provider) -> AsyncOpenAI:
    """The client for a model server; tries again are the policy's, not the client's."""
    silence_s = provider.silence_s or settings.model_silence_s
    client = LeanClient(
        api_key=_key_of(settings, provider) or NO_KEY,
        base_url=provider.base_url or settings.openai_base_url,
        max_retries=0,
        default_headers={name: os.environ[value] for name, value in provider.headers.items()},
        http_client=LeanHttpClient(
            timeout=httpx2.Timeout(silence_s, connect=CONNECT_S),
            limits=httpx2.Limits(
                max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S
            ),
        ),
    )
    client.asks_for_usage, client.tells_trace = provider.include_usage, provider.traceparent
    return client


def missing_keys(config: ModelsConfig) -> list[str]:
    """Sentences about variables that the providers name and the environment lacks."""
    return [
        f"provider {name!r}: the environment has no {variable}"
        for name, one in config.providers.items()
        for variable in one.variables()
        if not os.environ.get(variable)
    ]


def _key_of(settings: RunnerSettings, provider: Provider) -> str | None:
    """OpenAI's key goes to where the settings say, and to nobody else by itself."""
    if provider.key_env:
        return os.environ.get(provider.key_env)
    if provider.base_url or not settings.openai_api_key:
        return None
    return settings.openai_api_key.get_secret_value()


class UpstreamProvider(ModelProvider):
    """Models by name, each wrapped so that its calls are journalled and shown."""

    def __init__(self, settings: RunnerSettings, config: ModelsConfig) -> None:
        self._settings, self._config = settings, config
        self._clients = {name: make_client(settings, one) for name, one in config.providers.items()}
        self._models: dict[str, JournaledModel] = {}
        self._spoken = Spoken()
        self._greeting: asyncio.Task[None] | None = None
        self.gates = Gates(config)

    def greet(self) -> None:
        """Connect to each server and find out what it speaks, before the first run needs to know.

        What fails here is told by the first call that meets it.
        """
        self._greeting = asyncio.create_task(self._greet(), name="greet model servers")

    async def _greet(self) -> None:
        met = (self._meet(name) for name in self._clients)
        for error in await asyncio.gather(*met, return_exceptions=True):
            if isinstance(error, Exception):
                log.info("a model server was not met at the start", **details_of(error))

    async def _meet(self, provider: str) -> None:
        client = self._clients[provider]
        if self._api(provider) == "auto":
            await self._spoken.by(client)
        # Any request leaves a connection open for the first call.
        await client.get("/models", cast_to=httpx2.Response, options={"timeout": CONNECT_S})

    async def aclose(self) -> None:
        """Close the connections."""
        if self._greeting:
            self._greeting.cancel()
            await asyncio.wait({self._greeting})
        await asyncio.gather(*(client.close() for client in self._clients.values()))

    def get_model(self, model_name: str | None) -> JournaledModel:
        """The wrapped model; `AGENT_MODEL` for agents that name none.

        Raises:
            UserError: it belongs to no provider.
        """
        name = model_name or self._settings.default_model
        if name not in self._models:
            model, provider = self._config.meant(name)
            if provider is None:
                raise UserError(f"No provider of {self._settings.models_config} has {name!r}.")
            window, compactor = self._config.window_of(model), self._config.compactor
            self._models[name] = JournaledModel(
                self._plain(model, provider),
                model,
                timeout_s=self._settings.model_timeout_s,
                gate=self.gates[provider],
                compacts_above=int(window * self._settings.compact_at) if window else None,
                compactor=self.get_model(compactor) if compactor not in (None, name) else None,
            )
        return self._models[name]

    def _plain(self, model: str, provider: str) -> Model:
        client, api = self._clients[provider], self._api(provider)
        if api == "auto":
            return DetectedModel(model, client, self._spoken)
        return MODELS[api](model=model, openai_client=client)

    def _api(self, provider: str) -> str:
        forced = self._settings.force_chat_completions
        return "chat" if forced else self._config.providers[provider].api


class WrappedProvider(ModelProvider):
    """A provider of the agent's own, whose models are journalled like ours."""

    def __init__(self, inner: ModelProvider, *, timeout_s: float) -> None:
        self.inner, self._timeout_s = inner, timeout_s

    def get_model(self, model_name: str | None) -> Model:
        """The inner provider's model, wrapped."""
        return journaled(self.inner.get_model(model_name), timeout_s=self._timeout_s)

    async def aclose(self) -> None:
        """Close the inner provider."""
        await self.inner.aclose()


def journaled(model: Model, *, timeout_s: float) -> Model:
    """The model with a journal; wrapping twice changes nothing."""
    if isinstance(model, JournaledModel):
        return model
    name: Any = getattr(model, "model", type(model).__name__)
    return JournaledModel(model, str(name), timeout_s=timeout_s)
