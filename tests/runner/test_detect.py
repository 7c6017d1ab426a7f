"""What a model server speaks is found out once, and what the file says of a server is done."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import openai
import orjson
import pytest
from agents import ModelSettings
from agents.exceptions import UserError
from agents.models.interface import ModelTracing
from openai import AsyncOpenAI

from runner.models.client import LeanClient
from runner.models.detect import BELIEVED_S, DetectedModel, Spoken
from runner.models.journaled import JournaledModel
from runner.models.provider import UpstreamProvider, make_client, missing_keys
from runner.models.retry import Kind, judged
from shared.settings import RunnerSettings
from shared.settings.models import ModelsConfig, Provider, load_models
from tests.runner.test_tap import long_answer

pytestmark = pytest.mark.asyncio

LM_STUDIO = b'{"error":"Unexpected endpoint or method. (POST /v1/responses). Returning 200 anyway"}'
MISSES = b'{"error":{"message":"Missing required parameter: \'model\'.","code":"missing"}}'
NOT_FOUND = b"404 page not found"

Answer = Callable[[httpx2.Request], httpx2.Response]


class Server:
    """A model server that answers the empty request so, and speaks Chat Completions otherwise."""

    def __init__(self, status: int, body: bytes, url: str = "http://model.test/v1") -> None:
        self.status, self.body = status, body
        self.asked: list[tuple[str, Any]] = []
        transport = httpx2.MockTransport(self._answer)
        http = httpx2.AsyncClient(transport=transport)
        self.client = LeanClient(api_key="none", base_url=url, max_retries=0, http_client=http)

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        body = orjson.loads(request.content or b"null")
        self.asked.append((request.url.path, body))
        if body == {}:
            return httpx2.Response(self.status, content=self.body)
        api = "chat" if request.url.path.endswith("completions") else "responses"
        kind = {"content-type": "text/event-stream"}
        return httpx2.Response(200, content=long_answer(api, 2, 3).body, headers=kind)


@pytest.mark.parametrize(
    ("status", "body", "api"),
    [
        (400, MISSES, "responses"),
        (422, MISSES, "responses"),
        (200, b'{"id":"resp_1","output":[]}', "responses"),
        (404, NOT_FOUND, "chat"),
        (405, b"", "chat"),
        (501, b"", "chat"),
        (200, LM_STUDIO, "chat"),
        (200, b"<html>hello</html>", "chat"),
    ],
)
async def test_the_answer_to_an_empty_request_tells(status: int, body: bytes, api: str) -> None:
    assert await Spoken().by(Server(status, body).client) == api


@pytest.mark.parametrize(
    ("status", "kind"), [(401, Kind.ANSWERED), (429, Kind.BUSY), (503, Kind.DOWN)]
)
async def test_an_answer_that_tells_nothing_is_the_calls_and_not_kept(
    status: int, kind: Kind
) -> None:
    server, spoken = Server(status, b"{}"), Spoken()
    with pytest.raises(openai.APIStatusError) as raised:
        await spoken.by(server.client)
    assert judged(raised.value, now=0).kind is kind
    server.status = 400
    assert await spoken.by(server.client) == "responses"


async def test_a_server_is_asked_once_until_its_answer_is_old() -> None:
    now = 0.0
    spoken, server = Spoken(clock=lambda: now), Server(404, NOT_FOUND)
    answers = await asyncio.gather(*(spoken.by(server.client) for _ in range(5)))
    assert (answers, len(server.asked)) == (["chat"] * 5, 1)
    server.status, server.body = 400, MISSES
    now = BELIEVED_S - 1
    assert await spoken.by(server.client) == "chat"
    now = BELIEVED_S
    assert await spoken.by(server.client) == "responses"


@pytest.mark.parametrize("host", ["api.openai.com", "eu.api.openai.com"])
async def test_openai_is_never_asked(host: str) -> None:
    server = Server(404, NOT_FOUND, f"https://{host}/v1")
    assert await Spoken().by(server.client) == "responses"
    assert not server.asked


@pytest.mark.parametrize(
    ("status", "path"), [(400, "/v1/responses"), (404, "/v1/chat/completions")]
)
async def test_a_call_goes_to_what_the_server_speaks(status: int, path: str) -> None:
    server = Server(status, MISSES)
    await called(DetectedModel("m", server.client, Spoken()))
    assert [asked[0] for asked in server.asked] == ["/v1/responses", path]


async def test_a_server_that_refuses_to_be_asked_for_usage_is_not() -> None:
    bodies = []
    for asks in (True, False):
        server = Server(404, NOT_FOUND)
        server.client.asks_for_usage = asks
        await called(DetectedModel("m", server.client, Spoken()))
        bodies.append(server.asked[-1][1])
    asked, silent = bodies
    assert asked.pop("stream_options") == {"include_usage": True}
    assert asked == silent


async def called(model: Any) -> None:
    settings = ModelSettings(include_usage=True)
    call = model.stream_response(
        *("Answer.", "hello", settings, [], None, [], ModelTracing.DISABLED),
        previous_response_id=None,
        conversation_id=None,
        prompt=None,
    )
    assert [event.type async for event in call][-1] == "response.completed"


# ---------------------------------------------------------------------- what the file says
FILE = """
providers:
  azure:
    base_url: https://x.test/openai/v1
    headers: {api-key: AZURE_KEY, X-Team: TEAM}
    models: [gpt-*]
    api: responses
  local:
    base_url: http://127.0.0.1:1234/v1
    api: chat
aliases:
  gpt-4o-mini: {model: qwen-3, provider: local}
  fast: {model: gpt-5-nano}
"""


@pytest.fixture
def config(tmp_path: Path) -> ModelsConfig:
    (tmp_path / "models.yaml").write_text(FILE)
    return load_models(tmp_path / "models.yaml")


def settings(**more: Any) -> RunnerSettings:
    return RunnerSettings(REDIS_URL="redis://unused", BATON_RUNNER_KEY="k" * 32, **more)


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_KEY", "of azure")
    monkeypatch.setenv("TEAM", "tea")


async def inner(provider: UpstreamProvider, name: str) -> tuple[str, str, str, str]:
    model: Any = provider.get_model(name)
    assert isinstance(model, JournaledModel)
    plain: Any = model.inner
    host = plain._client.base_url.host
    return model.name, plain.model, type(plain).__name__, host


async def test_an_alias_is_called_at_its_provider(config: ModelsConfig, secrets: None) -> None:
    provider = UpstreamProvider(settings(), config)
    chat, responses = "OpenAIChatCompletionsModel", "OpenAIResponsesModel"
    assert await inner(provider, "gpt-4o-mini") == ("qwen-3", "qwen-3", chat, "127.0.0.1")
    assert await inner(provider, "fast") == ("gpt-5-nano", "gpt-5-nano", responses, "x.test")
    assert await inner(provider, "gpt-4o") == ("gpt-4o", "gpt-4o", responses, "x.test")
    await provider.aclose()


async def test_the_setting_forces_all(config: ModelsConfig, secrets: None) -> None:
    provider = UpstreamProvider(settings(AGENT_FORCE_CHAT_COMPLETIONS=True), config)
    assert (await inner(provider, "gpt-4o"))[2] == "OpenAIChatCompletionsModel"
    await provider.aclose()


@pytest.mark.parametrize("status", [400, 503])
async def test_servers_are_met_before_the_first_call(status: int) -> None:
    config = ModelsConfig(providers={"a": Provider(models=("m",)), "b": Provider(api="chat")})
    provider, one, other = (
        UpstreamProvider(settings(), config),
        Server(status, b""),
        Server(404, b""),
    )
    for stock in provider._clients.values():
        await stock.close()
    provider._clients = {"a": one.client, "b": other.client}
    provider.greet()
    assert provider._greeting
    await provider._greeting
    models = [("/v1/models", None)] if status == 400 else []
    assert (one.asked, other.asked) == ([("/v1/responses", {}), *models], [("/v1/models", None)])
    await provider.aclose()


async def test_what_is_not_said_is_detected() -> None:
    config = ModelsConfig(providers={"a": Provider(base_url="http://x.test/v1")})
    provider = UpstreamProvider(settings(), config)
    assert (await inner(provider, "any"))[2] == "DetectedModel"
    await provider.aclose()


async def test_a_model_of_nobody_is_refused(secrets: None) -> None:
    provider = UpstreamProvider(settings(), ModelsConfig(providers={"a": Provider(models=("b",))}))
    with pytest.raises(UserError, match="has 'c'"):
        provider.get_model("c")
    await provider.aclose()


async def test_headers_hold_what_their_variables_hold(config: ModelsConfig, secrets: None) -> None:
    client: AsyncOpenAI = make_client(settings(), config.providers["azure"])
    sent = client.default_headers
    assert (sent["api-key"], sent["X-Team"]) == ("of azure", "tea")
    await client.close()


async def test_a_variable_of_a_header_that_is_not_there_is_told(
    config: ModelsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM", "tea")
    assert missing_keys(config) == ["provider 'azure': the environment has no AZURE_KEY"]
