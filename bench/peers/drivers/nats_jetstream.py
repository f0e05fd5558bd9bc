"""NATS JetStream through nats-py: a work-queue stream in files, one durable pull consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

from bench.peers.contract import (
    BATCH_JOBS,
    HOST,
    QUEUE,
    WAIT_SECONDS,
    Driver,
    Target,
    chunks,
    library,
    take_in_batches,
)

STREAM = "BENCH"
CONSUMER = "workers"
LEASE_SECONDS = 60
LEASES_MAX = 100_000
PENDING_MAX = 2 * BATCH_JOBS
POLL_SECONDS = 0.01


class NatsJetStream:
    """One stream. A lone ack waits for the server's answer; acks of a batch have none."""

    def __init__(self, target: Target) -> None:
        self._url = f"nats://{HOST}:{target.port}"
        self._takes = target.role != "put"

    async def connect(self) -> None:
        """Makes stream and consumer."""
        self._nats: Any = await library("nats").connect(self._url)
        self._stream: Any = self._nats.jetstream(publish_async_max_pending=PENDING_MAX)
        api = library("nats.js.api")
        await self._stream.add_stream(
            api.StreamConfig(
                name=STREAM,
                subjects=[QUEUE],
                retention=api.RetentionPolicy.WORK_QUEUE,
                storage=api.StorageType.FILE,
            )
        )
        await self._stream.add_consumer(
            STREAM,
            api.ConsumerConfig(
                durable_name=CONSUMER,
                ack_policy=api.AckPolicy.EXPLICIT,
                max_ack_pending=LEASES_MAX,
                ack_wait=LEASE_SECONDS,
            ),
        )
        if self._takes:
            self._pulls: Any = await self._stream.pull_subscribe(QUEUE, CONSUMER)

    async def put(self, body: bytes) -> None:
        """publish, which waits for the stream's answer."""
        await self._stream.publish(QUEUE, body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """publish_async of all, then all answers."""
        for answer in [await self._stream.publish_async(QUEUE, body) for body in bodies]:
            await answer

    async def put_all(self, bodies: Iterator[bytes]) -> None:
        """A thousand in flight."""
        for chunk in chunks(bodies):
            await self.put_many(chunk)

    async def take(self) -> int:
        """fetch(1), ack_sync."""
        messages = await self._fetch(1)
        for message in messages:
            await message.ack_sync()
        return len(messages)

    async def take_many(self, count: int) -> int:
        """fetch, an ack for each, flush."""
        messages = await self._fetch(count)
        for message in messages:
            await message.ack()
        await self._nats.flush()
        return len(messages)

    async def take_all(self, count: int) -> int:
        """Batches of a thousand, and then until the stream has removed them."""
        left = await self._messages() - count
        done = await take_in_batches(self, count)
        await self._settled(left)
        return done

    async def close(self) -> None:
        """Hangs up."""
        await self._nats.close()

    async def _fetch(self, count: int) -> list[Any]:
        # nats-py has an exception of its own besides asyncio's.
        try:
            return list(await self._pulls.fetch(count, timeout=WAIT_SECONDS))
        except (TimeoutError, library("nats.errors").TimeoutError):
            return []

    async def _settled(self, left: int) -> None:
        # There is nothing to wait for: acks of a batch have no answer, so one has to look.
        while True:
            if await self._messages() <= left:
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _messages(self) -> int:
        return int((await self._stream.stream_info(STREAM)).state.messages)


def open_driver(target: Target) -> Driver:
    """A client that is not connected yet."""
    return NatsJetStream(target)
