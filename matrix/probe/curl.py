"""The bytes themselves."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping

from matrix.probe.client import Client, MisfitError, headers
from matrix.probe.rest import BASE, KEY, URL


class Curl(Client):
    """curl, chat completions."""

    leaving = "killed"

    def __init__(self) -> None:
        said = subprocess.run(["curl", "--version"], capture_output=True, text=True, check=True)
        self.version = said.stdout.split()[1]

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        command = self._asking(model, text, key, stream=False)
        raw = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        told = json.loads(raw)
        if "error" in told:
            raise MisfitError(raw)
        return str(told["choices"][0]["message"]["content"])

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        command = self._asking(model, text, key, stream=True)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            try:
                for line in process.stdout or ():
                    data = line.removeprefix("data: ").strip()
                    if data and data != "[DONE]" and not data.startswith(":"):
                        yield _piece(json.loads(data))
            finally:
                process.kill()

    def stops(self) -> Mapping[str, Callable[[str], object]]:
        def stop(run: str) -> None:
            command = ["curl", "-sSf", "-X", "POST", *_flags(None)]
            subprocess.run(
                [*command, f"{URL}/api/runs/{run}/cancel"], capture_output=True, check=True
            )

        return {"`POST /api/runs/{id}/cancel`": stop}

    def _asking(self, model: str, text: str, key: str | None, *, stream: bool) -> list[str]:
        messages = [{"role": "user", "content": text}]
        body = json.dumps({"model": model, "messages": messages, "stream": stream})
        return ["curl", "-sSN", *_flags(key), "-d", body, f"{BASE}/chat/completions"]


def _flags(key: str | None) -> list[str]:
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | headers(key)
    return [part for name, value in given.items() for part in ("-H", f"{name}: {value}")]


def _piece(chunk: dict[str, object]) -> str:
    match chunk:
        case {"error": {"message": message}}:
            raise MisfitError(f"{message}")
        case {"choices": [{"delta": {"content": str(content)}}]}:
            return content
    return ""
