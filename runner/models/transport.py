"""The connections to model servers: openai's own over aiohttp, with a shorter way for each read.

Between aiohttp and whoever reads a stream, httpx2 has five generators, one inside the other, which
decode, cut and count. For a stream that is not encoded all of them do nothing, and cost more than
everything else that is done with a delta. Requests, pools, time-outs and errors are as ever.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import httpx2
from openai import DefaultAioHttpClient
from openai._vendor.httpx_aiohttp.transport import (
    AiohttpResponseStream,
    AiohttpTransport,
    map_aiohttp_exceptions,
)


class LeanHttpClient(DefaultAioHttpClient):
    """See DefaultAioHttpClient. Proxies have a transport of their own, as ever."""

    def _init_transport(  # type: ignore[override]  # all are passed on by name
        self, *, transport: httpx2.AsyncBaseTransport | None = None, **asked: Any
    ) -> httpx2.AsyncBaseTransport:
        return transport or _Transport(**asked)


class _Transport(AiohttpTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        answer = await super().handle_async_request(request)
        return _Response(
            status_code=answer.status_code,
            headers=answer.headers,
            stream=answer.stream,
            request=request,
            extensions=answer.extensions,
        )


class _Response(httpx2.Response):
    def __init__(self, *, stream: Any, **given: Any) -> None:
        super().__init__(stream=stream, **given)
        self._straight = stream if isinstance(stream, AiohttpResponseStream) else None

    async def aiter_bytes(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        """See Response."""
        if self._straight is None or chunk_size is not None or not self._is_plain():
            async with aclosing(super().aiter_bytes(chunk_size)) as reads:
                async for read in reads:
                    yield read
            return
        self.is_stream_consumed = True
        content = self._straight._aiohttp_response.content
        try:
            with map_aiohttp_exceptions():
                while read := await content.readany():
                    yield read
        except httpx2.RequestError as error:
            error.request = self.request
            raise
        finally:
            await self.aclose()

    def _is_plain(self) -> bool:
        untouched = not (self.is_stream_consumed or self.is_closed or hasattr(self, "_content"))
        return untouched and "content-encoding" not in self.headers
