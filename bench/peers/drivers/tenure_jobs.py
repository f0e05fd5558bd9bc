"""Tenure through its client library: the sync client, and the async one for the fastest take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

from bench.peers.contract import BATCH_JOBS, HOST, QUEUE, WAIT_SECONDS, Driver, Target
from tenure import AsyncClient, Client, LeasedJob, NewJob

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
        self._held: list[LeasedJob] = []
        """Leased with the last ack, and to be acked with the next reserve."""

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
        """`ack_and_reserve`: the ack of this job and the lease of the next in one trip."""
        return await self.take_many(1)

    async def take_many(self, count: int) -> int:
        """The same for several jobs."""
        client, queue = self._client, self._queue
        held = self._held or client.reserve(queue, max_jobs=count, wait=WAIT_SECONDS)
        if not held:
            return 0
        # Not waiting: these acks are to be known now. An empty queue is waited for above.
        _, self._held = client.ack_and_reserve(held, queue, max_jobs=count)
        return len(held)

    async def take_all(self, count: int) -> int:
        """Over one connection, the next batch on its way while the last one is acked."""
        left, done = count, 0

        async def one_lane(client: AsyncClient) -> None:
            nonlocal left, done
            held: list[LeasedJob] = []
            while (want := min(BATCH_JOBS, left)) or held:
                left -= want
                acked, done = held, done + len(held)
                if want:
                    _, held = await client.ack_and_reserve(
                        acked, self._queue, max_jobs=want, wait=WAIT_SECONDS
                    )
                else:
                    await client.ack(acked)
                    held = []
                left += want - len(held)

        async with AsyncClient(self._url, codec="raw") as client, asyncio.TaskGroup() as group:
            for _ in range(TAKES_IN_FLIGHT):
                group.create_task(one_lane(client))
        return done

    async def close(self) -> None:
        """Gives back what it holds, and closes the sync client."""
        for job in self._held:
            self._client.release(job)
        self._client.close()


def open_driver(target: Target) -> Driver:
    """A client that is not connected yet."""
    return TenureJobs(target)
