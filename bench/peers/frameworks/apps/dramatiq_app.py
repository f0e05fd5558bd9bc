"""Dramatiq, its Redis broker, as it comes."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

dramatiq.set_broker(RedisBroker(url=os.environ[BROKER_VARIABLE]))


@dramatiq.actor
def noop(number: int) -> None:
    """Nothing."""
    mark(number)


def enqueue_many(numbers) -> None:
    """A group: it enqueues its messages one after the other."""
    dramatiq.group([noop.message(number) for number in numbers]).run()


CLIENT = Client(enqueue=lambda number: noop.send(number), enqueue_many=enqueue_many)
