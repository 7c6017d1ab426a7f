"""A tap between a runner and toolsvc: what both say is written down, as they said it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from aiohttp import web

from stack.program import free_port

#: Headers that belong to what is said.
_KEPT = ("authorization", "baton-runner-proof", "baton-scope", "idempotency-key")

Exchange = dict[str, Any]


class Tap:
    """Passes requests on to `target`; `exchanges` has them with their answers."""

    def __init__(self, target: str) -> None:
        self.target, self.port = target, free_port()
        self.exchanges: list[Exchange] = []
        self._http = aiohttp.ClientSession(auto_decompress=False)

    async def answer(self, request: web.Request) -> web.Response:
        """Pass one on."""
        sent = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        headers.pop("host", None)
        url = f"{self.target}{request.rel_url.raw_path}"
        async with self._http.request(
            request.method, url, data=sent or None, headers=headers
        ) as answer:
            body = await answer.read()
        self.exchanges.append(
            {
                "method": request.method,
                "path": request.rel_url.raw_path,
                "headers": {name: headers[name] for name in _KEPT if name in headers},
                "sent": sent.decode(),
                "status": answer.status,
                "answered": body.decode(),
            }
        )
        return web.Response(body=body, status=answer.status, content_type="application/json")


@asynccontextmanager
async def tapped(target: str) -> AsyncIterator[Tap]:
    """A tap on a port of its own."""
    tap = Tap(target)
    app = web.Application(client_max_size=64 * 1_048_576)
    app.router.add_route("*", "/{path:.*}", tap.answer)
    serving = web.AppRunner(app)
    await serving.setup()
    await web.TCPSite(serving, "127.0.0.1", tap.port).start()
    try:
        yield tap
    finally:
        await serving.cleanup()
        await tap._http.close()
