"""Fixtures of the client's tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client.both import CONNECTORS, Connect
from tests.support.broker_process import BrokerProcess


@pytest.fixture(params=list(CONNECTORS))
def connect(request: pytest.FixtureRequest) -> Connect:
    """Either client, called as if it would block."""
    return CONNECTORS[request.param]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker for the tests of one module."""
    with BrokerProcess(tmp_path_factory.mktemp("broker")) as running:
        yield running


@pytest.fixture
def client(broker: BrokerProcess, connect: Connect) -> Iterator[Any]:
    """A client of that broker."""
    with connect(broker.url, name="tester") as made:
        yield made


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue of the test's own."""
    return "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:128]
