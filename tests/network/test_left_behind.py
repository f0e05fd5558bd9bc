"""What a client keeps while nothing gets through, and what it leaves when it is closed."""

from __future__ import annotations

import gc
import threading
import time

import pytest

from tenure import RequestTimeout, TenureError
from tenure.core.call import Call
from tests.client.both import InThread
from tests.network.callers import open_for_good
from tests.network.client_rounds import open_files
from tests.network.conftest import Connect
from tests.network.proxy import FaultProxy
from tests.network.weather import FAIR, Lane, Weather
from tests.worker.processes import eventually

THREADS = 8
CALLS = 150


def calls_kept() -> int:
    """How many requests this process holds."""
    gc.collect()
    return sum(isinstance(thing, Call) for thing in gc.get_objects())


@pytest.mark.parametrize("connect", ["async"], indirect=True)
def test_requests_that_nobody_waits_for_do_not_pile_up_while_the_network_is_away(
    connect: Connect, proxy: FaultProxy, queue: str
) -> None:
    client = connect(timeout="400ms")
    before = calls_kept()
    proxy.change(Weather(up=Lane(stalled=True)))

    def gives_up() -> None:
        for _ in range(CALLS):
            with pytest.raises((TimeoutError, TenureError)):
                client.cut_short(0.01, "reserve", queue)

    for waiting in [InThread(gives_up) for _ in range(THREADS)]:
        waiting.result()

    most = calls_kept() - before
    assert most < THREADS * CALLS, "those whose time is over are gone already"
    eventually(lambda: calls_kept() <= before)
    proxy.change(FAIR)
    client.call("enqueue", queue, "work", b"payload")


def test_calls_that_time_out_leave_nothing_and_the_client_works_on(
    connect: Connect, proxy: FaultProxy, queue: str
) -> None:
    client = connect(timeout="200ms")
    before = calls_kept()
    proxy.change(Weather(down=Lane(stalled=True)))
    for _ in range(3):
        with pytest.raises(RequestTimeout):
            client.call("reserve", queue)
    proxy.change(FAIR)

    client.call("ping")
    eventually(lambda: calls_kept() <= before or client.call("ping") < 0)


def test_connections_that_come_and_go_leave_no_descriptor_and_no_thread(
    connect: Connect, proxy: FaultProxy, queue: str
) -> None:
    open_for_good()
    client = connect(timeout="20s")
    files, threads = open_files(), threading.active_count()
    for _ in range(30):
        proxy.cut_all()
        client.call("enqueue", queue, "work", b"payload")

    eventually(lambda: open_files() <= files and threading.active_count() <= threads)
    assert proxy.connections == 1


def test_many_clients_that_lose_their_connections_together_all_come_back(
    connect: Connect, proxy: FaultProxy, queue: str
) -> None:
    clients = [connect(timeout="30s") for _ in range(20)]
    for _ in range(3):
        proxy.cut_all()
        working = [
            InThread(client.call, "enqueue", queue, "work", b"payload") for client in clients
        ]
        for each in working:
            assert each.result()
    began = time.monotonic()
    assert all(client.call("ping") < 30 for client in clients)
    assert time.monotonic() - began < 60
