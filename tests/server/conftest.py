"""What the shell's tests share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import uvloop

from tenure_server import log
from tests.server.support import remove_data


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A directory for one broker; its data directory is removed afterwards."""
    yield tmp_path
    remove_data(tmp_path)


@pytest.fixture(autouse=True)
def quiet_log() -> None:
    """Brokers of this process log into the test's captured standard error."""
    log.configure(level="debug", style="json")


LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
MODULES_FOR_BOTH_LOOPS = ("back_pressure", "bad_clients", "commits", "hello", "http", "stopping")


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What depends on how a loop treats its connections is tested on both."""
    both = item.path.stem.removeprefix("test_") in MODULES_FOR_BOTH_LOOPS
    return LOOPS if both else {"asyncio": LOOPS["asyncio"]}
