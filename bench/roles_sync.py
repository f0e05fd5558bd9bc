"""Client processes that use the sync client."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.counters import open_counters
from bench.load import Order, Outcome, Ready, Role, endless_payloads, payloads
from tenure import Client, NewJob

TASK = "bench"
WAIT_SECONDS = 0.5
AHEAD_MAX = 1_000
"""How far the producers of a crowd may be ahead of its consumers."""


def enqueue_batch(order: Order, ready: Ready) -> Outcome:
    """All jobs in one `enqueue_many`, which cuts them into requests and keeps several in flight."""
    bodies = payloads(order.jobs)
    with Client(order.url, codec="raw") as client:
        client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        ids = client.enqueue_many(
            order.queue, (NewJob(TASK, body) for body in bodies), chunk_jobs=order.chunk
        )
        outcome.end = time.monotonic()
        outcome.done = len(set(ids))
    return outcome


def consume_batch(order: Order, ready: Ready) -> Outcome:
    """Reserve up to `chunk` jobs, ack them, and so on until the queue is empty."""
    with Client(order.url, codec="raw") as client:
        client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        while leased := client.reserve(order.queue, max_jobs=order.chunk, wait=WAIT_SECONDS):
            client.ack(leased)
            outcome.done += len(leased)
            outcome.end = time.monotonic()
    return outcome


def enqueue_single(order: Order, ready: Ready) -> Outcome:
    """One job after the other, each confirmed before the next."""
    bodies = payloads(order.jobs)
    took = [0.0] * len(bodies)
    with Client(order.url, codec="raw") as client:
        client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        for index, body in enumerate(bodies):
            begin = time.perf_counter()
            client.enqueue(order.queue, TASK, body)
            took[index] = (time.perf_counter() - begin) * 1e6
        outcome.end = time.monotonic()
    outcome.done = len(bodies)
    outcome.latencies_us["enqueue"] = took
    return outcome


def consume_single(order: Order, ready: Ready) -> Outcome:
    """Reserve one job and ack it, one after the other, `jobs` times."""
    reserve_us: list[float] = []
    ack_us: list[float] = []
    both_us: list[float] = []
    with Client(order.url, codec="raw") as client:
        client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        for _ in range(order.jobs):
            begin = time.perf_counter()
            leased = client.reserve(order.queue, wait=WAIT_SECONDS)
            middle = time.perf_counter()
            client.ack(leased)
            end = time.perf_counter()
            reserve_us.append((middle - begin) * 1e6)
            ack_us.append((end - middle) * 1e6)
            both_us.append((end - begin) * 1e6)
            outcome.done += len(leased)
        outcome.end = time.monotonic()
    outcome.latencies_us = {"reserve+ack": both_us, "reserve": reserve_us, "ack": ack_us}
    return outcome


def crowd_produce(order: Order, ready: Ready) -> Outcome:
    """One job after the other for `seconds`; waits while the consumers are far behind."""
    bodies: Iterator[bytes] = endless_payloads()
    with open_counters(order.counters) as counters, Client(order.url, codec="raw") as client:
        client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        deadline = outcome.begin + order.seconds
        while time.monotonic() < deadline:
            if counters.ahead() > AHEAD_MAX:
                time.sleep(0.001)
                continue
            client.enqueue(order.queue, TASK, next(bodies))
            outcome.done += 1
            counters.set_made(order.slot, outcome.done)
        outcome.end = time.monotonic()
    return outcome


def crowd_consume(order: Order, ready: Ready) -> Outcome:
    """Reserve one job and ack it, one after the other for `seconds`."""
    with open_counters(order.counters) as counters, Client(order.url, codec="raw") as client:
        client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        deadline = outcome.begin + order.seconds
        while time.monotonic() < deadline:
            leased = client.reserve(order.queue, wait=WAIT_SECONDS)
            if leased:
                client.ack(leased)
            if time.monotonic() < deadline:
                outcome.done += len(leased)
                counters.set_taken(order.slot, outcome.done)
        outcome.end = deadline
    return outcome


SYNC_ROLES: dict[str, Role] = {
    "enqueue-batch": enqueue_batch,
    "consume-batch-sync": consume_batch,
    "enqueue-single": enqueue_single,
    "consume-single": consume_single,
    "crowd-produce": crowd_produce,
    "crowd-consume": crowd_consume,
}
