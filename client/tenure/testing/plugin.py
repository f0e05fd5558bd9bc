"""The pytest plugin: fixtures `tenure`, `tenure_server`, `tenure_server_session`, `tenure_eager`.

pytest loads it in every run of a project that has Tenure installed, so it imports nothing until
a fixture is used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tenure.testing.broker import TestBroker
    from tenure.testing.server_process import ServerProcess


@pytest.fixture(name="tenure")
def _tenure() -> Iterator[TestBroker]:
    """A broker in this process, in virtual time; every App of the process is connected to it."""
    from tenure.testing.broker import in_process_broker

    with in_process_broker() as broker:
        yield broker


@pytest.fixture(name="tenure_server")
def _tenure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A broker in a process of its own, for one test; every App of this process talks to it."""
    from tenure.testing.server_process import ServerProcess

    server = ServerProcess(tmp_path_factory.mktemp("tenure"))
    try:
        with server.start().serving_apps():
            yield server
    finally:
        server.kill()


@pytest.fixture(name="tenure_server_session", scope="session")
def _tenure_server_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A broker in a process of its own, for all tests; `serving_apps()` connects the Apps."""
    from tenure.testing.server_process import ServerProcess

    server = ServerProcess(tmp_path_factory.mktemp("tenure"))
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(name="tenure_eager")
def _tenure_eager() -> Iterator[None]:
    """Every job runs where it is enqueued; there is no broker."""
    from tenure.tasks.connections import using
    from tenure.testing.sources import EagerSource

    with using(EagerSource()):
        yield
