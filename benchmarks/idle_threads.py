"""Threads that exist and do nothing, by the thousand, put straight into SQL."""

import asyncio

import psycopg

from benchmarks.targets import AGENT
from stack.running import Stack

#: One run each, a day ago; owners are dealt out in turn.
_MAKE = """
    INSERT INTO threads (id, user_id, public_id, agent, fence, settled, last_fence, last_seq,
        committed_at, created_at, updated_at)
    SELECT gen_random_uuid(), people.id, %(prefix)s || number, %(agent)s, 1, 1, 1, 9,
        now() - interval '1 day', now() - interval '1 day', now() - interval '1 day'
    FROM generate_series(0, %(count)s - 1) AS number
    JOIN (SELECT id, row_number() OVER (ORDER BY email) - 1 AS place, count(*) OVER () AS of_all
        FROM users WHERE email LIKE 'person%%') AS people ON people.place = number %% people.of_all
"""


async def make_threads(stack: Stack, prefix: str, count: int) -> None:
    """Make `count` threads, called by the prefix and a number from 0 on."""
    await asyncio.to_thread(_make, stack.database_url, prefix, count)


def _make(url: str, prefix: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_MAKE, {"prefix": prefix, "agent": AGENT, "count": count})
        connection.execute("VACUUM ANALYZE threads")
