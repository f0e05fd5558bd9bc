"""Wherever a connection is cut, what was asked is done once, or is said to be unknown."""

from __future__ import annotations

import os
import time

import pytest

from tenure import Client, OutcomeUnknown, QueueNotFound, RequestTimeout
from tests.client.both import InThread
from tests.network.conftest import FRAME_MS, IDLE_MS, Connect
from tests.network.proxy import FaultProxy
from tests.network.weather import FAIR, LOUD_CUTS, Cut, Lane, Weather
from tests.worker.processes import eventually

SLACK_S = 8.0
"""How much later than due things may be on a busy machine."""

cuts = pytest.mark.parametrize("cut", LOUD_CUTS)


@cuts
def test_an_enqueue_is_stored_once(
    cut: Cut, connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect()
    proxy.cut_next(cut, cut)

    job_id = client.call("enqueue", queue, "work", b"payload")

    [job] = direct.peek(queue).jobs
    assert (job.id, job.payload) == (job_id, b"payload")
    assert direct.queue(queue).totals["enqueued"] == 1


@cuts
def test_an_ack_counts_and_nobody_gets_the_job_again(
    cut: Cut, connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect()
    direct.enqueue(queue, "work", b"payload")
    [job] = client.call("reserve", queue)
    proxy.cut_next(cut, cut)

    told = client.call("ack", job)

    assert dict(told) == ({"repeated": True} if cut in ("applied", "inside reply") else {})
    assert direct.queue(queue).jobs == 0
    assert direct.queue(queue).totals["succeeded"] == 1


@cuts
def test_a_delivery_that_was_lost_comes_again_when_its_lease_is_over(
    cut: Cut, connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect()
    direct.enqueue(queue, "work", b"payload")
    proxy.cut_next(cut)

    [job] = client.call("reserve", queue, wait="20s", lease="500ms")

    assert job.payload == b"payload"
    assert job.attempt == (2 if cut in ("applied", "inside reply") else 1)


@pytest.mark.parametrize(("cut", "done"), [("before", False), ("applied", True)])
def test_what_is_not_repeated_is_told_as_unknown(
    cut: Cut, done: bool, connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect()
    proxy.cut_next(cut)

    with pytest.raises(OutcomeUnknown, match=r"queue\.create"):
        client.call("create_queue", queue)

    if done:
        assert direct.queue(queue).jobs == 0
    else:
        with pytest.raises(QueueNotFound):
            direct.queue(queue)


@pytest.mark.parametrize("lane", ["up", "down"])
def test_a_call_ends_in_time_when_bytes_pass_one_way_only_and_may_have_counted(
    lane: str, connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect(timeout="300ms")
    stalled = Lane(stalled=True)
    proxy.change(Weather(up=stalled) if lane == "up" else Weather(down=stalled))

    began = time.monotonic()
    with pytest.raises(RequestTimeout, match="enqueue"):
        client.call("enqueue", queue, "work", b"first")
    assert time.monotonic() - began < 0.3 + SLACK_S

    proxy.change(FAIR)
    client.call("enqueue", queue, "work", b"second")
    payloads = [job.payload for job in direct.peek(queue).jobs]
    assert payloads.count(b"second") == 1
    assert payloads.count(b"first") == 1 or lane == "up"


# -- connections that are dead, and nobody said so --------------------------------------------


def test_a_waiting_reserve_finds_out_that_its_connection_is_half_open(
    connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect(timeout="1s")
    client.call("enqueue", f"{queue}-other", "work", b"payload")
    proxy.silence_all()
    direct.enqueue(queue, "work", b"payload")

    began = time.monotonic()
    [job] = client.call("reserve", queue, wait="60s")

    assert job.payload == b"payload"
    assert time.monotonic() - began < IDLE_MS / 3_000 + 1 + SLACK_S


@pytest.mark.parametrize("connect", ["async"], indirect=True)
def test_callers_that_lose_patience_early_do_not_keep_a_half_open_connection_in_use(
    connect: Connect, proxy: FaultProxy, queue: str
) -> None:
    client = connect(timeout="1s")
    proxy.silence_all()

    end = time.monotonic() + IDLE_MS / 3_000 + 1 + SLACK_S
    while time.monotonic() < end:
        try:
            client.cut_short(0.1, "ping")
        except TimeoutError:
            continue
        return
    pytest.fail("the connection is still in use, and dead")


def test_a_frame_that_came_too_slowly_is_sent_again_and_so_is_what_was_in_flight_beside_it(
    connect: Connect, proxy: FaultProxy, direct: Client, queue: str
) -> None:
    client = connect(timeout="20s")
    direct.enqueue(queue, "work", b"payload")
    [job] = client.call("reserve", queue)
    beside = InThread(client.call, "reserve", f"{queue}-other", wait="20s")
    before = proxy.accepted
    # The broker takes what does not arrive within FRAME_MS for malformed, and hangs up.
    proxy.change(Weather(up=Lane(bytes_per_s=20_000)))
    acking = InThread(client.call, "ack", job, os.urandom(200 * FRAME_MS))
    eventually(lambda: proxy.accepted > before)
    proxy.change(FAIR)

    assert acking.result() is not None
    direct.enqueue(f"{queue}-other", "work", b"payload")
    assert len(beside.result()) == 1
    assert direct.queue(queue).totals["succeeded"] == 1
