"""Producers and consumers at the same time, each in a process of its own.

They are forked from one process that has imported the client library already; none of them
shares a connection.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from collections.abc import MutableSequence
from multiprocessing.synchronize import Barrier

from bench.load import payloads
from bench.peers.contract import Driver
from bench.peers.drivers import open_driver
from bench.peers.load import Order, Outcome, run, say_ready

AHEAD_MAX = 1_000
"""Jobs by which the producers may be ahead of the consumers, unless a batch is a lot of that."""

AHEAD_BATCHES = 100
GATHER_SECONDS_MAX = 60.0
END_SECONDS_MAX = 20.0
PAUSE_SECONDS = 0.001

Counts = MutableSequence[int]
"""What each producer has made, then what each consumer has taken."""


def crowd(order: Order) -> Outcome:
    """Jobs that `order.crowd` consumers took in `order.seconds` from as many producers."""
    open_driver(order.target("put"))  # Imports what all of them need.
    context = multiprocessing.get_context("fork")
    counts: Counts = context.Array("Q", 2 * order.crowd, lock=False)
    gate: Barrier = context.Barrier(2 * order.crowd + 1)
    members = [
        context.Process(target=_member, args=(order, slot, counts, gate), daemon=True)
        for slot in range(2 * order.crowd)
    ]
    for member in members:
        member.start()
    try:
        gate.wait(GATHER_SECONDS_MAX)
        say_ready()
        gate.wait(GATHER_SECONDS_MAX)
        outcome = Outcome(begin=time.monotonic())
        time.sleep(order.seconds)
        outcome.made, outcome.done = sum(counts[: order.crowd]), sum(counts[order.crowd :])
        outcome.end = time.monotonic()
        for member in members:
            member.join(END_SECONDS_MAX)
    finally:
        for member in members:
            if member.is_alive():
                member.kill()
            member.join()
    outcome.errors = [f"member {m.name} ended with {m.exitcode}" for m in members if m.exitcode]
    return outcome


def _member(order: Order, slot: int, counts: Counts, gate: Barrier) -> None:
    produces = slot < order.crowd
    many = "take-one" if order.batch == 1 else "take-many"
    driver = open_driver(order.target("put" if produces else many))

    async def work() -> Outcome:
        await driver.connect()
        gate.wait(GATHER_SECONDS_MAX)
        gate.wait(GATHER_SECONDS_MAX)
        deadline = time.monotonic() + order.seconds
        if produces:
            await _produce(order, driver, slot, counts, deadline)
        else:
            await _consume(order, driver, slot, counts, deadline)
        return Outcome()

    run(work())
    # Not every library lets go of its connection and its threads in good time.
    os._exit(0)


async def _produce(
    order: Order, driver: Driver, slot: int, counts: Counts, deadline: float
) -> None:
    bodies = payloads(order.batch)
    ahead_max = max(AHEAD_MAX, AHEAD_BATCHES * order.batch)
    while time.monotonic() < deadline:
        if sum(counts[: order.crowd]) - sum(counts[order.crowd :]) > ahead_max:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if order.batch == 1:
            await driver.put(bodies[0])
        else:
            await driver.put_many(bodies)
        counts[slot] += order.batch


async def _consume(
    order: Order, driver: Driver, slot: int, counts: Counts, deadline: float
) -> None:
    while time.monotonic() < deadline:
        if order.batch == 1:
            counts[slot] += await driver.take()
        else:
            counts[slot] += await driver.take_many(order.batch)
