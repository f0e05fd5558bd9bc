"""Celery, with acknowledgements after the task, as Tenure's are."""

from __future__ import annotations

import os

from celery import Celery

from bench.peers.frameworks.marks import BROKER_VARIABLE, mark
from bench.peers.frameworks.producer import Client

app = Celery("bench", broker=os.environ[BROKER_VARIABLE])
app.conf.update(
    task_ignore_result=True,
    task_acks_late=True,
    broker_connection_retry_on_startup=True,
)
if os.environ[BROKER_VARIABLE].startswith("amqp"):
    app.conf.broker_transport_options = {"confirm_publish": True}


@app.task(name="noop")
def noop(number: int) -> None:
    """Nothing."""
    mark(number)


def enqueue_many(numbers) -> None:
    """There is no call for many: a loop that holds on to one connection."""
    with app.producer_or_acquire() as producer:
        for number in numbers:
            noop.apply_async((number,), producer=producer)


CLIENT = Client(enqueue=lambda number: noop.delay(number), enqueue_many=enqueue_many)
