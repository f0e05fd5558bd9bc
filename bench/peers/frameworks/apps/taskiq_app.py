"""taskiq on a Redis stream, which acknowledges."""

from __future__ import annotations

import asyncio
import os

from taskiq_redis import RedisStreamBroker

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

IN_FLIGHT = 100

broker = RedisStreamBroker(os.environ[BROKER_VARIABLE])


@broker.task(task_name="noop")
async def noop(number: int) -> None:
    """Nothing."""
    mark(number)


async def enqueue(number: int) -> None:
    """One job."""
    await noop.kiq(number)


async def enqueue_many(numbers) -> None:
    """There is no call for many: so many in flight at a time."""
    for first in range(0, len(numbers), IN_FLIGHT):
        await asyncio.gather(*map(enqueue, numbers[first : first + IN_FLIGHT]))


CLIENT = Client(
    enqueue=enqueue, enqueue_many=enqueue_many, begin=broker.startup, end=broker.shutdown
)
