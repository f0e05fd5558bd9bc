"""Tenure, as a user has it: the same task on the event loop, and in a thread or a process."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client
from tenure import App

app = App(os.environ.get(BROKER_VARIABLE), name="bench", queue="bench")


@app.task(name="noop")
async def noop(number: int) -> None:
    """Nothing, on the event loop."""
    mark(number)


@app.task(name="noop_blocking")
def noop_blocking(number: int) -> None:
    """Nothing, in a thread or a process."""
    mark(number)


_task = noop_blocking if os.environ.get("BENCH_BLOCKING") else noop


def _enqueue(number: int) -> None:
    _task.enqueue(number)


def _enqueue_many(numbers: Sequence[int]) -> None:
    app.enqueue_many(_task.s(number) for number in numbers)


CLIENT = Client(enqueue=_enqueue, enqueue_many=_enqueue_many, begin=app.client.ping, end=app.close)
