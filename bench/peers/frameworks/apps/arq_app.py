"""arq, results thrown away."""

from __future__ import annotations

import asyncio
import os

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

IN_FLIGHT = 100

settings = RedisSettings.from_dsn(os.environ[BROKER_VARIABLE])
pools: list[ArqRedis] = []


async def noop(context, number: int) -> None:
    """Nothing."""
    mark(number)


class WorkerSettings:
    """What the command `arq` reads."""

    functions = (noop,)
    redis_settings = settings
    max_jobs = int(os.environ.get("BENCH_CONCURRENCY", "10"))
    keep_result = 0


async def begin() -> None:
    """Connects."""
    pools.append(await create_pool(settings))


async def enqueue(number: int) -> None:
    """One job."""
    await pools[0].enqueue_job("noop", number)


async def enqueue_many(numbers) -> None:
    """There is no call for many: so many in flight at a time."""
    for first in range(0, len(numbers), IN_FLIGHT):
        await asyncio.gather(*map(enqueue, numbers[first : first + IN_FLIGHT]))


async def end() -> None:
    """Disconnects."""
    await pools[0].aclose()


CLIENT = Client(enqueue=enqueue, enqueue_many=enqueue_many, begin=begin, end=end)
