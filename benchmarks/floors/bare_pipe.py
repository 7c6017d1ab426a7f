"""Floor 2: the bare pipe, httpx → XADD → XREAD → socket, in one process and without any rules.

No agent loop, no fence, no SQL: what it takes at least to send a model's deltas through Redis one
by one. `PORT`, `OPENAI_BASE_URL`, `OPENAI_API_KEY` and `REDIS_URL` come from the environment.
"""

import asyncio
import os
from typing import Any
from uuid import uuid4

import httpx
import orjson
import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from redis.asyncio import Redis

app = FastAPI()
redis = Redis.from_url(os.environ["REDIS_URL"], protocol=2, max_connections=200)
model = httpx.AsyncClient(
    base_url=os.environ["OPENAI_BASE_URL"],
    headers={"authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
    limits=httpx.Limits(max_connections=200, max_keepalive_connections=200),
    timeout=60,
    trust_env=False,
)


@app.get("/readyz")
async def readyz() -> str:
    """We are up."""
    return "ok"


@app.websocket("/chat/Bench")
async def chat(websocket: WebSocket) -> None:
    """Text in, deltas out, by way of a stream."""
    await websocket.accept()
    try:
        while True:
            asked = await websocket.receive_text()
            stream = f"thread:{uuid4()}"
            asking = asyncio.create_task(ask(asked, stream))
            await relay(stream, websocket)
            await asking
            await redis.delete(stream)
    except WebSocketDisconnect:
        return


async def ask(asked: str, stream: str) -> None:
    """Call the model, append each delta."""
    said = {"role": "user", "content": asked}
    body = {"model": "demo", "stream": True, "instructions": "Answer.", "input": [said]}
    async with model.stream("POST", "/responses", json=body) as answer:
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                event = orjson.loads(line[6:])
                if event["type"] == "response.output_text.delta":
                    found = orjson.dumps({"type": "delta", "text": event["delta"]})
                    await redis.xadd(stream, {"data": found})
    await redis.xadd(stream, {"data": b'{"type":"end"}'})


async def relay(stream: str, websocket: WebSocket) -> None:
    """Read the stream, send each entry."""
    last: Any = "0"
    while True:
        found: Any = await redis.xread({stream: last}, block=60_000)
        for entry, fields in found[0][1]:
            await websocket.send_text(fields[b"data"].decode())
            if fields[b"data"] == b'{"type":"end"}':
                return
            last = entry


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(os.environ["PORT"]), loop="uvloop", log_level="error"
    )
