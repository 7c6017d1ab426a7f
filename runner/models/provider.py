"""The model server: one client per process, Responses or Chat Completions as set."""

from typing import Any

import httpx2
from agents import Model, ModelProvider, OpenAIChatCompletionsModel, OpenAIResponsesModel
from openai import AsyncOpenAI, DefaultAioHttpClient

from runner.models.client import LeanClient
from runner.models.journaled import JournaledModel
from shared.settings import RunnerSettings

#: Without a key the client would refuse to be made; a server that wants one answers 401.
NO_KEY = "none"
CONNECT_S = 5.0
#: Connections outlive the pauses of a conversation.
KEEPALIVE_S = 60.0


def make_client(settings: RunnerSettings) -> AsyncOpenAI:
    """The client for the model server; silence counts as a hang after `model_silence_s`."""
    key = settings.openai_api_key
    return LeanClient(
        api_key=key.get_secret_value() if key else NO_KEY,
        base_url=settings.openai_base_url,
        max_retries=2,
        http_client=DefaultAioHttpClient(
            timeout=httpx2.Timeout(settings.model_silence_s, connect=CONNECT_S),
            limits=httpx2.Limits(
                max_connections=1000, max_keepalive_connections=100, keepalive_expiry=KEEPALIVE_S
            ),
        ),
    )


class UpstreamProvider(ModelProvider):
    """Models by name, each wrapped so that its calls are journalled and shown."""

    def __init__(self, settings: RunnerSettings, client: AsyncOpenAI) -> None:
        self._settings, self._client = settings, client
        self._models: dict[str, Model] = {}

    def get_model(self, model_name: str | None) -> Model:
        """The wrapped model; `AGENT_MODEL` for agents that name none."""
        name = model_name or self._settings.default_model
        if name not in self._models:
            self._models[name] = JournaledModel(
                self._plain(name), name, timeout_s=self._settings.model_timeout_s
            )
        return self._models[name]

    def _plain(self, name: str) -> Model:
        if self._settings.force_chat_completions:
            return OpenAIChatCompletionsModel(model=name, openai_client=self._client)
        return OpenAIResponsesModel(model=name, openai_client=self._client)


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
