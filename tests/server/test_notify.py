"""The service manager's messages, over a real socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenure_server.heartbeat import Heartbeat
from tenure_server.notify import notify, watchdog_interval_ms
from tests.server.support import running


@pytest.fixture
def channel() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.settimeout(10)
        yield listening


def test_a_message_arrives_over_a_path(channel: socket.socket, tmp_path: Path) -> None:
    channel.bind(str(tmp_path / "s"))

    assert notify("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "s")})

    assert channel.recv(100) == b"READY=1"


def test_a_message_arrives_over_an_abstract_name(channel: socket.socket) -> None:
    channel.bind("")

    assert notify("STOPPING=1", {"NOTIFY_SOCKET": "@" + channel.getsockname()[1:].decode()})

    assert channel.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize(
    "environ",
    [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "/no/such/one"}],
)
def test_without_a_listener_nothing_happens(environ: dict[str, str]) -> None:
    assert notify("READY=1", environ) is False


@pytest.mark.parametrize(
    ("environ", "interval_ms"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15_000),
        ({"WATCHDOG_USEC": "30000000"}, 15_000),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 0),
        ({"WATCHDOG_USEC": "soon"}, 0),
        ({}, 0),
    ],
)
def test_the_watchdog_is_fed_at_half_its_time(environ: dict[str, str], interval_ms: int) -> None:
    assert watchdog_interval_ms(environ, pid=42) == interval_ms


async def test_a_running_broker_feeds_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    async with running() as broker:
        fed: list[str] = []

        def feed(message: str) -> bool:
            fed.append(message)
            return True

        heartbeat = Heartbeat(broker.hub, feed)
        heartbeat.start()

        await broker.until(lambda: len(fed) >= 3)

        heartbeat.stop()
        assert set(fed) == {"WATCHDOG=1"}
