"""Open WebUI, as it is installed here: started with an empty home, and Baton for its provider."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse
from tempfile import TemporaryDirectory
from typing import Any

from matrix.probe import rest
from matrix.probe.client import Client, MisfitError, NotOfferedError, Question

#: Its first start makes a database.
STARTS_WITHIN_S = 180.0
#: Nobody signs in, nothing is fetched, and Baton is all that it knows.
ENVIRON = {
    "WEBUI_AUTH": "False",
    "OPENAI_API_BASE_URL": rest.BASE,
    "OPENAI_API_KEY": rest.KEY,
    "ENABLE_OLLAMA_API": "False",
    "RAG_EMBEDDING_ENGINE": "openai",
    "OFFLINE_MODE": "True",
    "HF_HUB_OFFLINE": "1",
}

# A proxy of the machine is none for a server on loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class OpenWebUi(Client):
    """What its own API, which its page uses, makes of Baton's chat completions."""

    leaving = "the connection to it is closed"

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="baton-open-webui-")
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        command = shutil.which("open-webui")
        assert command is not None
        self._process = subprocess.Popen(
            [command, "serve", "--host", "127.0.0.1", "--port", str(port)],
            cwd=self._folder.name,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | ENVIRON | {"DATA_DIR": self._folder.name, "HOME": self._folder.name},
        )
        try:
            self.version = self._started()
            signed_in = self._asked("/api/v1/auths/signin", {"email": "", "password": ""})
            self._token = str(signed_in["token"])
            self._asked("/api/models")  # it asks for them before it lets them be used
        except BaseException:
            self.close()
            raise

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        _check_key(key)
        with self._completing(_completion(model, text)) as answer:
            told = json.load(answer)
        return str(told["choices"][0]["message"]["content"])

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        _check_key(key)
        with self._completing(_completion(model, text) | {"stream": True}) as answer:
            for line in answer:
                data = line.decode().removeprefix("data: ").strip()
                if not data or data == "[DONE]" or data.startswith(":"):
                    continue
                chunk = json.loads(data)
                if "error" in chunk:
                    raise MisfitError(json.dumps(chunk["error"]))
                for choice in chunk.get("choices", ()):
                    yield choice["delta"].get("content") or ""

    def question(self, model: str, text: str) -> Question:
        said = self.answer(model, text)
        run = rest.newest_run()

        def approve() -> str:
            rest.approve_all(run)
            after = rest.asked("GET", f"/api/runs/{run}")["resumedBy"]
            rest.end_of(after)
            return rest.said_in(after)

        means = "`POST /api/runs/{id}/approvals`; the answer is in Baton's page"
        return Question(text=said, means=means, approve=approve)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def _started(self) -> str:
        """Its version, as soon as it tells."""
        self._token = ""
        until = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                return str(self._asked("/api/version")["version"])
            except OSError:
                time.sleep(0.5)
        raise MisfitError("it does not start")

    def _completing(self, body: Any) -> HTTPResponse:
        try:
            return self._sent("/api/chat/completions", body)
        except urllib.error.HTTPError as error:
            with error:
                raise MisfitError(error.read().decode()) from None

    def _asked(self, path: str, body: Any = None) -> Any:
        with self._sent(path, body) as answer:
            return json.load(answer)

    def _sent(self, path: str, body: Any) -> HTTPResponse:
        given = {"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data=data, headers=given)
        answer: HTTPResponse = _OPENER.open(request, timeout=rest.PATIENCE_S)
        return answer


def _completion(model: str, text: str) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def _check_key(key: str | None) -> None:
    if key is not None:
        raise NotOfferedError("it sends no `Idempotency-Key`")
