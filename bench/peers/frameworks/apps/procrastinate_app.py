"""procrastinate on PostgreSQL."""

from __future__ import annotations

import os

import procrastinate

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

CHUNK = 1000

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ[BROKER_VARIABLE])
)


@app.task(name="noop")
async def noop(number: int) -> None:
    """Nothing."""
    mark(number)


async def enqueue(number: int) -> None:
    """One job."""
    await noop.defer_async(number=number)


async def enqueue_many(numbers) -> None:
    """Chunks of `batch_defer_async`."""
    for first in range(0, len(numbers), CHUNK):
        await noop.batch_defer_async(
            *[{"number": number} for number in numbers[first : first + CHUNK]]
        )


CLIENT = Client(
    enqueue=enqueue, enqueue_many=enqueue_many, begin=app.open_async, end=app.close_async
)
