"""PostgreSQL as a queue, through asyncpg: SELECT ... FOR UPDATE SKIP LOCKED."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from bench.peers.contract import HOST, Driver, Target, chunks, library, take_in_batches

POLL_SECONDS = 0.002

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id bigserial PRIMARY KEY,
    priority smallint NOT NULL DEFAULT 0,
    ready_at timestamptz NOT NULL DEFAULT now(),
    payload bytea NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX IF NOT EXISTS jobs_next ON jobs (priority DESC, id);
"""
PUT = "INSERT INTO jobs (payload) VALUES ($1)"
PUT_MANY = "INSERT INTO jobs (payload) SELECT unnest($1::bytea[])"
TAKE = """
DELETE FROM jobs WHERE id IN (
    SELECT id FROM jobs WHERE ready_at <= now() ORDER BY priority DESC, id
    LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id, payload
"""


class PostgresRows:
    """A table. A take is one transaction: no lease, a crash rolls it back."""

    def __init__(self, target: Target) -> None:
        self._url = f"postgresql://postgres@{HOST}:{target.port}/postgres"

    async def connect(self) -> None:
        """Makes the table and prepares the statements."""
        self._connection: Any = await library("asyncpg").connect(self._url)
        if await self._connection.fetchval("SELECT to_regclass('jobs_next')") is None:
            await self._connection.execute(TABLE)
        self._put: Any = await self._connection.prepare(PUT)
        self._put_many: Any = await self._connection.prepare(PUT_MANY)
        self._take: Any = await self._connection.prepare(TAKE)

    async def put(self, body: bytes) -> None:
        """INSERT of one row."""
        await self._put.fetch(body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """One INSERT of all rows."""
        await self._put_many.fetch(bodies)

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """A thousand rows at a time."""
        for chunk in chunks(bodies):
            await self.put_many(chunk)

    async def take(self) -> int:
        """DELETE of one row."""
        return await self.take_many(1)

    async def take_many(self, count: int) -> int:
        """DELETE of several rows."""
        rows = await self._take.fetch(count)
        if not rows:
            await asyncio.sleep(POLL_SECONDS)
        return len(rows)

    async def take_all(self, count: int) -> int:
        """A thousand rows at a time."""
        return await take_in_batches(self, count)

    async def close(self) -> None:
        """Hangs up."""
        await self._connection.close()


def open_driver(target: Target) -> Driver:
    """A client that is not connected yet."""
    return PostgresRows(target)
