"""The worker that everybody writes first: `python -m drill.naive REDIS_URL MODEL_URL LEDGER`.

It reads a run from a Redis stream, loops over the model and its tools, publishes what comes, and
acknowledges at the end. When it dies, another claims the entry after a while and does it all again.
Here so that the drill's judge can be seen to find what is wrong with that; nothing uses it.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from stack.resp import RespConnection, RespError

THREADS = 8
GROUP = "naive"
#: Longer than any answer lasts, else living workers would be robbed too.
IDLE_MS = 30_000
BLOCK_MS = 500
TOOL_PAUSE_S = 0.05

INSTRUCTIONS = "Drill: do what you are told."
TOOLS = [
    {
        "type": "function",
        "name": "ledger",
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}},
    }
]


def main() -> None:
    """Work until killed."""
    redis_url, model_url, ledger = sys.argv[1:4]
    for number in range(THREADS):
        worker = _Worker(f"{os.getpid()}-{number}", redis_url, model_url, Path(ledger))
        threading.Thread(target=worker.work, daemon=True).start()
    sys.stdin.read()  # the end of our supervisor is our end


class _Worker:
    def __init__(self, name: str, redis_url: str, model_url: str, ledger: Path) -> None:
        self._name, self._ledger = name, ledger
        self._redis = RespConnection(redis_url, timeout_s=None)
        self._http = httpx.Client(base_url=model_url, trust_env=False, timeout=60)

    def work(self) -> None:
        while True:
            for entry, run in self._next():
                self._carry_out(run)
                self._redis.call("XACK", "runs", GROUP, entry)

    def _next(self) -> Iterator[tuple[bytes, dict[str, Any]]]:
        claim = ["XAUTOCLAIM", "runs", GROUP, self._name, str(IDLE_MS), "0", "COUNT", "1"]
        claimed: Any = self._redis.call(*claim)
        entries = claimed[1]
        if not entries:
            read = ["XREADGROUP", "GROUP", GROUP, self._name, "COUNT", "1", "BLOCK", str(BLOCK_MS)]
            found: Any = self._redis.call(*read, "STREAMS", "runs", ">")
            entries = found[0][1] if found else []
        for entry, fields in entries:
            yield entry, json.loads(fields[1])

    def _carry_out(self, run: dict[str, Any]) -> None:
        items: list[dict[str, Any]] = [*run["messages"]]
        self._publish(run, {"type": "RUN_STARTED", "runId": run["runId"]})
        while True:
            output = self._ask(run, items)
            items += output
            calls = [item for item in output if item["type"] == "function_call"]
            if not calls:
                break
            for call in calls:
                items.append(self._use_tool(run, call))
        self._publish(run, {"type": "RUN_FINISHED", "runId": run["runId"]})

    def _ask(self, run: dict[str, Any], items: list[dict[str, Any]]) -> list[dict[str, Any]]:
        body = {
            "model": "demo",
            "instructions": INSTRUCTIONS,
            "input": items,
            "tools": TOOLS,
            "stream": True,
        }
        key = {"Authorization": "Bearer demo"}
        with self._http.stream("POST", "/v1/responses", json=body, headers=key) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event: dict[str, Any] = json.loads(line[6:])
                if event["type"] == "response.output_text.delta":
                    chunk = {"messageId": f"answer-{run['runId']}", "delta": event["delta"]}
                    self._publish(run, {"type": "TEXT_MESSAGE_CHUNK", **chunk})
                elif event["type"] == "response.completed":
                    output: list[dict[str, Any]] = event["response"]["output"]
                    return output
        raise RuntimeError("the model's answer has no end")

    def _use_tool(self, run: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
        text = json.loads(call["arguments"])["text"]
        time.sleep(TOOL_PAUSE_S)
        line = {"run": run["runId"], "key": uuid4().hex, "text": text, "at": time.time()}
        file = os.open(self._ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(file, json.dumps(line).encode() + b"\n")
        os.close(file)
        time.sleep(TOOL_PAUSE_S)
        result = {"toolCallId": call["call_id"], "content": text}
        self._publish(run, {"type": "TOOL_CALL_RESULT", **result})
        output = json.dumps({"written": text}, separators=(",", ":"))
        return {"type": "function_call_output", "call_id": call["call_id"], "output": output}

    def _publish(self, run: dict[str, Any], event: dict[str, Any]) -> None:
        fields = ("run", run["runId"], "data", json.dumps(event))
        self._redis.call("XADD", f"events:{run['threadId']}", "*", *fields)


def make_group(redis_url: str) -> None:
    """Make the consumer group that workers read with."""
    with RespConnection(redis_url) as redis:
        try:
            redis.call("XGROUP", "CREATE", "runs", GROUP, "0", "MKSTREAM")
        except RespError as error:
            if "BUSYGROUP" not in str(error):
                raise


if __name__ == "__main__":
    main()
