"""A real broker, a proxy before it, and both clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure import Client, Reconnect
from tests.network.callers import Caller, Kind, caller_of
from tests.network.proxy import FaultProxy
from tests.support.broker_process import BrokerProcess

IDLE_MS = 1_500
"""How long a connection may be silent; clients ping after a third of it."""

FRAME_MS = 1_000
"""How long a frame may take to arrive."""

QUICK = Reconnect(base_ms=1, cap_ms=20)

Connect = Callable[..., Caller]


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a broker with its own settings is, for whole rounds."""
    with BrokerProcess(tmp_path_factory.mktemp("rounds")) as process:
        yield process.url


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """One that loses patience soon."""
    directory: Path = tmp_path_factory.mktemp("broker")
    environment = {
        "TENURE_TIMEOUTS_IDLE": f"{IDLE_MS}ms",
        "TENURE_TIMEOUTS_FRAME": f"{FRAME_MS}ms",
    }
    with BrokerProcess(directory, environment=environment) as process:
        yield process


@pytest.fixture
def direct(broker: BrokerProcess) -> Iterator[Client]:
    """A client past the proxy."""
    with Client(broker.url, codec="raw") as client:
        yield client


@pytest.fixture
def proxy(broker: BrokerProcess) -> Iterator[FaultProxy]:
    with FaultProxy(broker.url) as proxy:
        yield proxy


@pytest.fixture
def queue(request: pytest.FixtureRequest) -> str:
    """A queue that no other test uses."""
    name = request.node.name.lower()
    return "".join(letter if letter.isalnum() else "-" for letter in name)[-100:].strip("-")


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest, proxy: FaultProxy) -> Iterator[Connect]:
    """Makes clients of either kind that are connected through the proxy."""
    kind: Kind = request.param
    callers: list[Caller] = []

    def connect(**options: Any) -> Caller:
        caller = caller_of(kind, proxy.url, **{"codec": "raw", "reconnect": QUICK, **options})
        callers.append(caller)
        caller.call("ping")
        return caller

    yield connect
    assert sum(caller.close() for caller in callers) == 0, "no task of a client outlives it"
