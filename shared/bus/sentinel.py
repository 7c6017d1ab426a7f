"""Connections to whichever server the Sentinels call the master, asked anew for each connection.

redis-py's own would ask too seldom: its reader of pub/sub goes back to the dead address for ever,
and its pool raises where ours waits.
"""

import asyncio
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError

from shared.bus.sentinel_url import SentinelUrl

#: A Sentinel that hangs must not use up the time of those that would answer.
ASK_WITHIN_S = 0.4
#: All of them together.
FOUND_WITHIN_S = 1.2


class Sentinels:
    """Knows whom to ask; who did not answer is asked last the next time."""

    def __init__(self, url: SentinelUrl) -> None:
        self._addresses, self._service = list(url.sentinels), url.service
        self._options: dict[str, Any] = {
            **url.credentials,
            "socket_timeout": ASK_WITHIN_S,
            "socket_connect_timeout": ASK_WITHIN_S,
            "retry": Retry(NoBackoff(), 0),
            "protocol": 2,
            "ssl": url.tls,
        }

    async def master(self) -> tuple[str, int]:
        """Host and port of the present master.

        Raises:
            RedisConnectionError: no Sentinel knows one now.
        """
        errors = []
        try:
            async with asyncio.timeout(FOUND_WITHIN_S):
                for address in list(self._addresses):
                    try:
                        return await self._ask(address)
                    except (RedisError, OSError) as error:
                        errors.append(f"{address[0]}:{address[1]}: {error}")
                        self._addresses.remove(address)
                        self._addresses.append(address)
        except TimeoutError:
            errors.append("no time was left for the others")
        raise RedisConnectionError(f"no Sentinel knows a master: {'; '.join(errors)}")

    async def _ask(self, address: tuple[str, int]) -> tuple[str, int]:
        sentinel = Sentinel([address], sentinel_kwargs=self._options)  # type: ignore[no-untyped-call]
        async with sentinel as asked:
            host, port = await asked.discover_master(self._service)
            return str(host), int(port)


class MasterConnection(Connection):
    """A connection to the master of the moment at which it is made."""

    def __init__(self, *, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def _connect(self) -> None:
        self.host, self.port = await self._sentinels.master()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """As its parent; a server that has become a replica is left."""
        try:
            return await super().read_response(*arguments, **options)
        except ReadOnlyError:
            await self.disconnect()
            raise RedisConnectionError("this server is a replica now") from None


class MasterTlsConnection(MasterConnection, SSLConnection):
    """The same over TLS."""


def to_master(url: SentinelUrl) -> dict[str, Any]:
    """What a pool needs to make such connections."""
    options: dict[str, Any] = dict(parse_url(url.server))
    options["connection_class"] = MasterTlsConnection if url.tls else MasterConnection
    return options | {"sentinels": Sentinels(url)}
