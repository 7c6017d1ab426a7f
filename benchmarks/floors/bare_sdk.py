"""Floor 1: the bare SDK in a FastAPI socket handler, as its documentation shows it.

One process, nothing stored, nothing that survives anything. Traces are exported, as the SDK does by
itself. `PORT`, `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `TRACE_ENDPOINT` come from the environment.
"""

import os

import orjson
import uvicorn
from agents import Agent, Runner, function_tool, set_trace_processors
from agents.tracing.processors import BackendSpanExporter, BatchTraceProcessor
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

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


if __name__ == "__main__":
    exporter = BackendSpanExporter(
        api_key=os.environ["OPENAI_API_KEY"], endpoint=os.environ["TRACE_ENDPOINT"]
    )
    set_trace_processors([BatchTraceProcessor(exporter)])
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", log_level="error"
    )
