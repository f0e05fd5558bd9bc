"""Brokers for the tests of the command as a process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker_process import BrokerProcess


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker for tests that use queues of their own."""
    directory = tmp_path_factory.mktemp("broker")
    with BrokerProcess(directory) as broker:
        yield broker.url
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of one's own, to be stopped, killed or drained."""
    broker = BrokerProcess(tmp_path)
    with broker.start():
        yield broker
    shutil.rmtree(broker.data_dir, ignore_errors=True)
