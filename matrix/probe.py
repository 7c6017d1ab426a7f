"""One client's conversations: `python probe.py CLIENT`, by a Python that has this client.

It stands alone, for that Python may have nothing else. Where it is and with which key it comes is
in the environment, `BATON_URL` and `BATON_KEY`; standard output gets a line of JSON for each
conversation, and one with the client's version before.
"""

import json
import os
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from importlib.metadata import version
from typing import Any

URL, KEY = os.environ["BATON_URL"], os.environ["BATON_KEY"]
BASE = f"{URL}/v1"
COUNTED = " ".join(f"word{n}" for n in range(1, 21))


class MisfitError(Exception):
    """A conversation went otherwise than it should."""


class Client(ABC):
    """One way to ask; `key` is an Idempotency-Key."""

    version: str

    @abstractmethod
    def answer(self, model: str, text: str, key: str | None = None) -> str:
        """The whole answer."""

    @abstractmethod
    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        """The answer as it comes."""


def _headers(key: str | None) -> dict[str, str]:
    return {"Idempotency-Key": key} if key else {}


class Curl(Client):
    """The bytes themselves."""

    def __init__(self) -> None:
        said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
        self.version = said.stdout.split()[1]

    def _command(self, model: str, text: str, key: str | None, *, stream: bool) -> list[str]:
        messages = [{"role": "user", "content": text}]
        body = {"model": model, "messages": messages, "stream": stream}
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        given = [f"{name}: {value}" for name, value in (headers | _headers(key)).items()]
        flags = [part for one in given for part in ("-H", one)]
        return ["curl", "-sSN", *flags, "-d", json.dumps(body), f"{BASE}/chat/completions"]

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        command = self._command(model, text, key, stream=False)
        raw = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        told = json.loads(raw)
        if "error" in told:
            raise MisfitError(raw)
        return str(told["choices"][0]["message"]["content"])

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        command = self._command(model, text, key, stream=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                for line in process.stdout or ():
                    data = line.removeprefix("data: ").strip()
                    if data and data != "[DONE]" and not data.startswith(":"):
                        yield json.loads(data)["choices"][0]["delta"].get("content") or ""
            finally:
                process.kill()


class OpenAIChat(Client):
    """openai-python, chat completions."""

    def __init__(self) -> None:
        from openai import OpenAI

        self.version, self._client = version("openai"), OpenAI(base_url=BASE, api_key=KEY)

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        messages: Any = [{"role": "user", "content": text}]
        made = self._client.chat.completions.create(
            model=model, messages=messages, extra_headers=_headers(key)
        )
        return made.choices[0].message.content or ""

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        messages: Any = [{"role": "user", "content": text}]
        with self._client.chat.completions.create(
            model=model, messages=messages, stream=True, extra_headers=_headers(key)
        ) as chunks:
            for chunk in chunks:
                yield chunk.choices[0].delta.content or "" if chunk.choices else ""


class OpenAIResponses(OpenAIChat):
    """openai-python, responses."""

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        made = self._client.responses.create(model=model, input=text, extra_headers=_headers(key))
        asked = [one for one in made.output if one.type == "mcp_approval_request"]
        return made.output_text + "".join(f" approve {one.name}" for one in asked)

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        with self._client.responses.create(
            model=model, input=text, stream=True, extra_headers=_headers(key)
        ) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    yield event.delta


class AgentsSdk(Client):
    """The Agents SDK, with an agent of ours for its model."""

    def __init__(self) -> None:
        self.version = version("openai-agents")

    def _agent(self, model: str, key: str | None) -> Any:
        from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, set_tracing_disabled
        from openai import AsyncOpenAI

        set_tracing_disabled(disabled=True)
        client = AsyncOpenAI(base_url=BASE, api_key=KEY)
        asked = OpenAIChatCompletionsModel(model, client)
        settings = ModelSettings(extra_headers=_headers(key))
        return Agent(name="Client", model=asked, model_settings=settings)

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        from agents import Runner

        return str(Runner.run_sync(self._agent(model, key), text).final_output)

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        import asyncio

        from agents import Runner

        async def gathered() -> list[str]:
            result: Any = Runner.run_streamed(self._agent(model, key), text)
            raw = [one.data async for one in result.stream_events() if hasattr(one, "data")]
            return [one.delta for one in raw if one.type == "response.output_text.delta"]

        yield from asyncio.run(gathered())


class LangChain(Client):
    """LangChain's ChatOpenAI."""

    def __init__(self) -> None:
        self.version = version("langchain-openai")

    def _model(self, model: str, key: str | None) -> Any:
        from langchain_openai import ChatOpenAI  # type: ignore[import-not-found]

        return ChatOpenAI(model=model, base_url=BASE, api_key=KEY, default_headers=_headers(key))

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        return str(self._model(model, key).invoke(text).content)

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        for chunk in self._model(model, key).stream(text):
            yield str(chunk.content)


class LiteLlm(Client):
    """LiteLLM as a library."""

    def __init__(self) -> None:
        self.version = version("litellm")

    def _made(self, model: str, text: str, key: str | None, *, stream: bool) -> Any:
        import litellm  # type: ignore[import-not-found]

        return litellm.completion(
            model=f"openai/{model}",
            api_base=BASE,
            api_key=KEY,
            messages=[{"role": "user", "content": text}],
            stream=stream,
            extra_headers=_headers(key),
        )

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        return str(self._made(model, text, key, stream=False).choices[0].message.content)

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        for chunk in self._made(model, text, key, stream=True):
            yield chunk.choices[0].delta.content or ""


# ---------------------------------------------------------------------------------- conversations
def _holds(text: str, *wanted: str) -> None:
    for one in wanted:
        if one.lower() not in text.lower():
            raise MisfitError(f"{one!r} is not in {text[:200]!r}")


def _plain(client: Client) -> None:
    _holds(client.answer("Plain", "hello"), "hello")


def _stream(client: Client) -> None:
    pieces = [
        one for one in client.pieces("Plain", "[[deltas=20]] [[tokens_per_s=60]] count") if one
    ]
    _holds("".join(pieces), COUNTED)
    if len(pieces) < 2:
        raise MisfitError("it came in one piece")


def _tools(client: Client) -> None:
    _holds(client.answer("Tools", '[[tool=add {"a": 2, "b": 3}]] add'), "the sum is 5")


def _hand_off(client: Client) -> None:
    _holds(client.answer("Desk", "[[tool=transfer_to_billing]] pay"), "Billing")


def _guardrail(client: Client) -> None:
    try:
        said = client.answer("Guarded", "hello")
    except Exception as error:
        _holds(f"{error}", "guardrail")
    else:
        raise MisfitError(f"it was answered: {said[:200]!r}")


def _approval(client: Client) -> None:
    _holds(client.answer("Careful", '[[tool=refund {"order": "A1"}]] refund'), "refund")


def _structured(client: Client) -> None:
    if set(json.loads(client.answer("Extractor", "Tea with Ada"))) != {"title", "people"}:
        raise MisfitError("the answer has other fields")


def _cancel(client: Client) -> None:
    """Leaving in the middle stops nothing of what comes after."""
    pieces = client.pieces("Plain", "[[deltas=30]] [[tokens_per_s=60]] count")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    _plain(client)


def _reconnect(client: Client) -> None:
    """The same key gives the same answer from its beginning, and no second run."""
    key = uuid.uuid4().hex
    pieces = client.pieces("Plain", "[[deltas=20]] [[tokens_per_s=60]] count", key)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    again = "".join(client.pieces("Plain", "[[deltas=20]] [[tokens_per_s=60]] count", key))
    _holds(again, COUNTED)


CONVERSATIONS: dict[str, Callable[[Client], None]] = {
    "plain": _plain,
    "stream": _stream,
    "tools": _tools,
    "hand-off": _hand_off,
    "guardrail": _guardrail,
    "approval": _approval,
    "structured": _structured,
    "leave": _cancel,
    "reconnect": _reconnect,
}
CLIENTS: dict[str, type[Client]] = {
    "curl": Curl,
    "openai-chat": OpenAIChat,
    "openai-responses": OpenAIResponses,
    "agents-sdk": AgentsSdk,
    "langchain": LangChain,
    "litellm": LiteLlm,
}


def _tell(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def main() -> None:
    """Hold all conversations, one after the other."""
    try:
        client = CLIENTS[sys.argv[1]]()
    except Exception as error:
        _tell(missing=f"{type(error).__name__}: {error}")
        return
    _tell(version=client.version)
    for name, converse in CONVERSATIONS.items():
        try:
            converse(client)
        except Exception as error:
            _tell(conversation=name, why=f"{type(error).__name__}: {error}"[:400])
        else:
            _tell(conversation=name, why=None)


if __name__ == "__main__":
    main()
