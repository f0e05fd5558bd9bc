"""RQ, results thrown away."""

from __future__ import annotations

import os

from redis import Redis
from rq import Queue

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

CHUNK = 1000

queue = Queue(connection=Redis.from_url(os.environ[BROKER_VARIABLE]))


def noop(number: int) -> None:
    """Nothing."""
    mark(number)


def enqueue_many(numbers) -> None:
    """Chunks of `enqueue_many`."""
    for first in range(0, len(numbers), CHUNK):
        queue.enqueue_many(
            [
                Queue.prepare_data(noop, (number,), result_ttl=0)
                for number in numbers[first : first + CHUNK]
            ]
        )


CLIENT = Client(
    enqueue=lambda number: queue.enqueue(noop, number, result_ttl=0), enqueue_many=enqueue_many
)
