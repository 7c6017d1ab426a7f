"""Floor 1: the bare SDK in FastAPI's handlers, as its documentation shows it.

One handler is a socket, the other one streams chat completions. One process, nothing is stored,
nothing survives anything. Traces are exported, as the SDK does by
itself. `PORT`, `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `TRACE_ENDPOINT` come from the environment.
"""

import json
import os
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import orjson
import uvicorn
from agents import Agent, Runner, function_tool, set_trace_processors
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

app = FastAPI()


@function_tool
def echo(text: str) -> str:
    """Say it again."""
    return text


agents = {
    "Bench": Agent(name="Bench", instructions="Answer.", model="demo"),
    "Echo": Agent(name="Echo", instructions="Answer.", model="demo", tools=[echo]),
}


@app.get("/readyz")
async def readyz() -> str:
    """We are up."""
    return "ok"


@app.websocket("/chat/{agent}")
async def chat(websocket: WebSocket, agent: str) -> None:
    """Text in, deltas out."""
    await websocket.accept()
    try:
        while True:
            asked = await websocket.receive_text()
            result = Runner.run_streamed(agents[agent], asked, max_turns=20)
            async for event in result.stream_events():
                if (
                    event.type == "raw_response_event"
                    and event.data.type == "response.output_text.delta"
                ):
                    said = {"type": "delta", "text": event.data.delta}
                    await websocket.send_text(orjson.dumps(said).decode())
            await websocket.send_text('{"type":"end"}')
    except WebSocketDisconnect:
        return


class Asked(BaseModel):
    """What of a request is looked at."""

    model: str
    messages: list[dict[str, Any]]


@app.post("/v1/chat/completions")
async def chat_completions(asked: Asked) -> StreamingResponse:
    """A conversation in, chunks out."""
    return StreamingResponse(chunks(asked), media_type="text/event-stream")


async def chunks(asked: Asked) -> AsyncIterator[str]:
    """The answer as OpenAI streams it."""
    id_, created = f"chatcmpl-{uuid4().hex}", int(time.time())

    def chunk(delta: dict[str, Any], finish_reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        body = {
            "id": id_,
            "object": "chat.completion.chunk",
            "created": created,
            "model": asked.model,
            "choices": [choice],
        }
        return f"data: {json.dumps(body)}\n\n"

    yield chunk({"role": "assistant", "content": ""})
    messages: Any = asked.messages
    result = Runner.run_streamed(agents[asked.model], messages, max_turns=20)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
            yield chunk({"content": event.data.delta})
    yield chunk({}, "stop")
    yield "data: [DONE]\n\n"


if __name__ == "__main__":
    exporter = BackendSpanExporter(
        api_key=os.environ["OPENAI_API_KEY"], endpoint=os.environ["TRACE_ENDPOINT"]
    )
    set_trace_processors([BatchTraceProcessor(exporter)])
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", log_level="error"
    )
