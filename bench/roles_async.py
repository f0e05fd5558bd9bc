"""Client processes that use the async client (on uvloop where it is installed)."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from bench.counters import Counters, open_counters
from bench.load import (
    IDLE_GAP_SECONDS,
    PAYLOAD_BYTES,
    Order,
    Outcome,
    Ready,
    Role,
    endless_payloads,
    payloads,
)
from bench.roles_sync import AHEAD_MAX, TASK, WAIT_SECONDS
from tenure import AsyncClient, LeasedJob

_STAMP_BYTES = 8
"""A moment in nanoseconds, at the start of a payload."""


def _as_role(work: Callable[[Order, Ready], Coroutine[Any, Any, Outcome]]) -> Role:
    def role(order: Order, ready: Ready) -> Outcome:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(work(order, ready))

    return role


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    return None


async def enqueue_stream(order: Order, ready: Ready) -> Outcome:
    """Single enqueues over one connection, `in_flight` of them unanswered at a time."""
    todo = iter(payloads(order.jobs))
    took: list[float] = []

    async def one_lane(client: AsyncClient) -> None:
        for body in todo:
            begin = time.perf_counter()
            await client.enqueue(order.queue, TASK, body)
            took.append((time.perf_counter() - begin) * 1e6)

    async with AsyncClient(order.url, codec="raw") as client:
        await client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        async with asyncio.TaskGroup() as group:
            for _ in range(order.in_flight):
                group.create_task(one_lane(client))
        outcome.end = time.monotonic()
    outcome.done = len(took)
    outcome.latencies_us["enqueue"] = took
    return outcome


async def consume_batch(order: Order, ready: Ready) -> Outcome:
    """Reserve up to `chunk` jobs and ack them; `in_flight` such loops over one connection.

    Ends after `jobs` jobs, or when the queue is empty.
    """
    outcome = Outcome()
    left = order.jobs or sys.maxsize

    async def one_lane(client: AsyncClient) -> None:
        nonlocal left
        while want := min(order.chunk, left):
            left -= want
            leased = await client.reserve(order.queue, max_jobs=want, wait=WAIT_SECONDS)
            if not leased:
                return
            left += want - len(leased)
            await client.ack(leased)
            outcome.done += len(leased)
            outcome.end = time.monotonic()

    async with AsyncClient(order.url, codec="raw") as client:
        await client.ping()
        ready()
        outcome.begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(order.in_flight):
                group.create_task(one_lane(client))
    return outcome


Step = Callable[[AsyncClient, Counters], Awaitable[int]]


async def _crowd(order: Order, ready: Ready, step: Step, made: bool) -> Outcome:
    """`connections` clients in this process, each doing one step after the other."""
    outcome = Outcome()

    async def one_client(client: AsyncClient, counters: Counters) -> None:
        deadline = outcome.begin + order.seconds
        while time.monotonic() < deadline:
            count = await step(client, counters)
            if time.monotonic() < deadline:
                outcome.done += count
                set_count = counters.set_made if made else counters.set_taken
                set_count(order.slot, outcome.done)

    async with contextlib.AsyncExitStack() as stack:
        counters = stack.enter_context(open_counters(order.counters))
        clients = [
            await stack.enter_async_context(AsyncClient(order.url, codec="raw"))
            for _ in range(order.connections)
        ]
        for client in clients:
            await client.ping()
        ready()
        outcome.begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(one_client(client, counters))
        outcome.end = outcome.begin + order.seconds
    return outcome


async def crowd_produce(order: Order, ready: Ready) -> Outcome:
    """Producers of one process, each one job at a time for `seconds`."""
    bodies: Iterator[bytes] = endless_payloads()

    async def step(client: AsyncClient, counters: Counters) -> int:
        if counters.ahead() > AHEAD_MAX:
            await asyncio.sleep(0.001)
            return 0
        await client.enqueue(order.queue, TASK, next(bodies))
        return 1

    return await _crowd(order, ready, step, made=True)


async def crowd_consume(order: Order, ready: Ready) -> Outcome:
    """Consumers of one process, each one job at a time for `seconds`."""

    async def step(client: AsyncClient, _: Counters) -> int:
        leased = await client.reserve(order.queue, wait=WAIT_SECONDS)
        if leased:
            await client.ack(leased)
        return len(leased)

    return await _crowd(order, ready, step, made=False)


async def crowd_consume_ahead(order: Order, ready: Ready) -> Outcome:
    """The same, but the ack of a job and the reserve of the next one leave together."""
    held: dict[AsyncClient, list[LeasedJob]] = {}

    async def step(client: AsyncClient, _counters: Counters) -> int:
        done = held.pop(client, [])
        reserve = client.reserve(order.queue, wait=WAIT_SECONDS)
        if done:
            _acked, held[client] = await asyncio.gather(client.ack(done), reserve)
        else:
            held[client] = await reserve
        return len(done)

    return await _crowd(order, ready, step, made=False)


async def idle_produce(order: Order, ready: Ready) -> Outcome:
    """Now and then one job, stamped with the moment of the call."""
    pause = random.Random(7)
    padding = bytes(PAYLOAD_BYTES - _STAMP_BYTES)
    took: list[float] = []
    async with AsyncClient(order.url, codec="raw") as client:
        await client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        for _ in range(order.jobs):
            await asyncio.sleep(pause.uniform(*IDLE_GAP_SECONDS))
            begin_ns = time.monotonic_ns()
            await client.enqueue(order.queue, TASK, begin_ns.to_bytes(_STAMP_BYTES) + padding)
            took.append((time.monotonic_ns() - begin_ns) / 1e3)
        outcome.end = time.monotonic()
    outcome.done = len(took)
    outcome.latencies_us["enqueue"] = took
    return outcome


async def idle_consume(order: Order, ready: Ready) -> Outcome:
    """A worker that waits: how long after the call of enqueue it has the job."""
    waited: list[float] = []
    async with AsyncClient(order.url, codec="raw") as client:
        await client.ping()
        ready()
        outcome = Outcome(begin=time.monotonic())
        while len(waited) < order.jobs:
            leased = await client.reserve(order.queue, wait=10)
            arrived_ns = time.monotonic_ns()
            waited += [
                (arrived_ns - int.from_bytes(job.payload[:_STAMP_BYTES])) / 1e3 for job in leased
            ]
            await client.ack(leased)
        outcome.end = time.monotonic()
    outcome.done = len(waited)
    outcome.latencies_us["delivery"] = waited
    return outcome


ASYNC_ROLES: dict[str, Role] = {
    "enqueue-stream": _as_role(enqueue_stream),
    "consume-batch": _as_role(consume_batch),
    "crowd-produce-async": _as_role(crowd_produce),
    "crowd-consume-async": _as_role(crowd_consume),
    "crowd-consume-ahead": _as_role(crowd_consume_ahead),
    "idle-produce": _as_role(idle_produce),
    "idle-consume": _as_role(idle_consume),
}
