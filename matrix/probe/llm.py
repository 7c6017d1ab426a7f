"""`llm`, the command; its models stand in a file of its own configuration."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from matrix.probe.client import EVENT, Client, MisfitError, headers
from matrix.probe.rest import BASE, KEY


class Llm(Client):
    """Chat completions."""

    leaving = "Ctrl-C"

    def __init__(self) -> None:
        self.version = version("llm")
        self._home = TemporaryDirectory(prefix="baton-llm-")

    def answer(self, model: str, text: str, key: str | None = None) -> str:
        return self._whole(model, text, key)

    def structured(self, model: str, text: str) -> str:
        return self._whole(model, text, None, "--schema", json.dumps(EVENT))

    def pieces(self, model: str, text: str, key: str | None = None) -> Iterator[str]:
        with self._asking(model, text, key) as process:
            assert process.stdout is not None
            try:
                while piece := os.read(process.stdout.fileno(), 65536):
                    yield piece.decode()
                _check(process)
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGINT)
                    process.communicate()

    def close(self) -> None:
        self._home.cleanup()

    def _whole(self, model: str, text: str, key: str | None, *more: str) -> str:
        with self._asking(model, text, key, "--no-stream", *more) as process:
            assert process.stdout is not None
            said = process.stdout.read().decode()
            _check(process)
            return said

    def _asking(
        self, model: str, text: str, key: str | None, *more: str
    ) -> "subprocess.Popen[bytes]":
        about = {"model_id": model, "model_name": model, "api_base": BASE, "api_key_name": "baton"}
        given = about | {"headers": headers(key), "supports_schema": True}
        # JSON is YAML.
        Path(self._home.name, "extra-openai-models.yaml").write_text(json.dumps([given]))
        command = [str(Path(sys.executable).parent / "llm"), "prompt", "-m", model, "--no-log"]
        return subprocess.Popen(
            [*command, "--key", KEY, *more, text],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"LLM_USER_PATH": self._home.name},
        )


def _check(process: "subprocess.Popen[bytes]") -> None:
    """Raise what it has printed, where it has failed."""
    assert process.stderr is not None
    said = process.stderr.read().decode()
    if process.wait():
        raise MisfitError(said)
