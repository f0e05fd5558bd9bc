"""Tenure through its client library: the sync client, and the async one for the fastest take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from bench.peers.contract import BATCH_JOBS, HOST, QUEUE, WAIT_SECONDS, Driver, Target
from tenure import AsyncClient, Client, NewJob

TASK = "bench"
TAKES_IN_FLIGHT = 2
MEMORY_MODE = "memory"


class TenureJobs:
    """Jobs of one queue, their payloads as raw bytes."""

    def __init__(self, target: Target) -> None:
        self._url = f"tenure://{HOST}:{target.port}"
        self._memory = target.mode == MEMORY_MODE
        self._queue = f"{QUEUE}-memory" if self._memory else QUEUE
        self._client = Client(self._url, codec="raw")

    async def connect(self) -> None:
        """Also sets the durability of the queue that is to have none."""
        self._client.ping()
        known = [queue.name for queue in self._client.queues()]
        if self._memory and self._queue not in known:
            self._client.create_queue(self._queue, durability="memory")

    async def put(self, body: bytes) -> None:
        """`enqueue`."""
        self._client.enqueue(self._queue, TASK, body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """`enqueue_many`."""
        self._client.enqueue_many(self._queue, [NewJob(TASK, body) for body in bodies])

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """One `enqueue_many`, which keeps several requests in flight."""
        self._client.enqueue_many(self._queue, (NewJob(TASK, body) for body in bodies))

    async def take(self) -> int:
        """`reserve`, `ack`."""
        return await self.take_many(1)

    async def take_many(self, count: int) -> int:
        """`reserve` of several jobs, `ack` of all of them."""
        leased = self._client.reserve(self._queue, max_jobs=count, wait=WAIT_SECONDS)
        if leased:
            self._client.ack(leased)
        return len(leased)

    async def take_all(self, count: int) -> int:
        """Over one connection, the next batch on its way while the last one is acked."""
        left, done = count, 0

        async def one_lane(client: AsyncClient) -> None:
            nonlocal left, done
            while want := min(BATCH_JOBS, left):
                left -= want
                leased = await client.reserve(self._queue, max_jobs=want, wait=WAIT_SECONDS)
                left += want - len(leased)
                await client.ack(leased)
                done += len(leased)

        async with AsyncClient(self._url, codec="raw") as client, asyncio.TaskGroup() as group:
            for _ in range(TAKES_IN_FLIGHT):
                group.create_task(one_lane(client))
        return done

    async def close(self) -> None:
        """Closes the sync client."""
        self._client.close()


def open_driver(target: Target) -> Driver:
    """A client that is not connected yet."""
    return TenureJobs(target)
