"""Clients that run by Node.js: each is a script of `matrix/node`, asked over its standard input."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any

from matrix.probe.client import Client, MisfitError, Question

SCRIPTS = Path(__file__).parent.parent / "node"


class NodeClient(Client):
    """A client of a script; `bridge.mjs` has the other side."""

    script: str

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            ["node", str(SCRIPTS / self.script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._numbers = count(1)
        #: What came for a command that nobody was reading for just then.
        self._kept: dict[int, list[dict[str, Any]]] = {}
        self.version = str(self._line()["version"])

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        return str(self._done("answer", model=model, text=text, key=key))

    def structured(self, model: str, text: str) -> str:
        return str(self._done("structured", model=model, text=text))

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        number = self._send("pieces", model=model, text=text, key=key)
        ended = False
        try:
            for told in self._of(number):
                ended = "piece" not in told
                if ended:
                    _value(told)
                else:
                    yield told["piece"]
        finally:
            if not ended:
                self._send("leave", which=number)
                for _ in self._of(number):
                    pass

    def close(self) -> None:
        self._process.terminate()
        self._process.communicate()

    def _done(self, name: str, **given: Any) -> Any:
        *_, last = self._of(self._send(name, **given))
        return _value(last)

    def _send(self, name: str, **given: Any) -> int:
        number = next(self._numbers)
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps({"id": number, "do": name} | given) + "\n")
        stdin.flush()
        return number

    def _of(self, number: int) -> Iterator[dict[str, Any]]:
        """What comes of a command, the last line too."""
        while True:
            kept = self._kept.get(number)
            told = kept.pop(0) if kept else self._line()
            if told["id"] != number:
                self._kept.setdefault(told["id"], []).append(told)
                continue
            yield told
            if "piece" not in told:
                return

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise MisfitError(f"{self.script} has ended")
        told: dict[str, Any] = json.loads(line)
        return told


class Deciding(NodeClient):
    """One that has its own way to approve."""

    means: str

    def question(self, model: str, text: str) -> Question:
        asked = self._done("question", model=model, text=text)

        def approve() -> str:
            return str(self._done("approve", handle=asked["handle"]))

        return Question(text=asked["text"], means=self.means, approve=approve)


class OpenAIChat(NodeClient):
    """openai-node, chat completions."""

    script = "openai_chat.mjs"
    leaving = "`stream.controller.abort()`"


class OpenAIResponses(Deciding):
    """openai-node, responses."""

    script = "openai_responses.mjs"
    leaving = "`stream.controller.abort()`"
    means = "`mcp_approval_response`"

    def stops(self) -> Mapping[str, Callable[[str], object]]:
        return {
            "`responses.cancel`": lambda run: self._done("cancel", run=run),
            "`responses.delete`": lambda run: self._done("remove", run=run),
        }


class AiSdkChat(NodeClient):
    """Vercel's AI SDK, chat completions."""

    script = "ai_sdk_chat.mjs"
    leaving = "`abortSignal`"


class AiSdkResponses(Deciding):
    """Vercel's AI SDK, responses."""

    script = "ai_sdk_responses.mjs"
    leaving = "`abortSignal`"
    means = "`tool-approval-response`"


class AgUi(Deciding):
    """@ag-ui/client."""

    script = "ag_ui.mjs"
    leaving = "`abortRun()`"
    means = "`resume`"


def _value(told: dict[str, Any]) -> Any:
    if "error" in told:
        raise MisfitError(told["error"])
    return told["done"]
