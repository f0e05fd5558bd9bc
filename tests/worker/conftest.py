"""A broker for the tests of one module, and workers on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tenure import Client
from tests.support.broker_process import BrokerProcess
from tests.worker import sample_app
from tests.worker.processes import WorkerProcess, using_url


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path, "--ephemeral") as process:
        yield process


@pytest.fixture
def client(broker: BrokerProcess) -> Iterator[Client]:
    with using_url(broker.url), Client(broker.url) as client:
        yield client
        sample_app.app.close()


class StartWorker(Protocol):
    def __call__(self, *words: str, name: str = "worker", **environment: str) -> WorkerProcess: ...


@pytest.fixture
def start(broker: BrokerProcess, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers, waits until they consume, and ends them after the test."""
    workers: list[WorkerProcess] = []

    def start(*words: str, name: str = "worker", **environment: str) -> WorkerProcess:
        worker = WorkerProcess(broker.url, tmp_path, *words, name=name, environment=environment)
        workers.append(worker)
        return worker.ready()

    yield start
    for worker in workers:
        with worker:
            pass
