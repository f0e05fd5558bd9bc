"""Huey on Redis, without results."""

from __future__ import annotations

import os

from huey import RedisHuey

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

huey = RedisHuey("bench", url=os.environ[BROKER_VARIABLE], results=False)


@huey.task()
def noop(number: int) -> None:
    """Nothing."""
    mark(number)


CLIENT = Client(enqueue=lambda number: noop(number))
