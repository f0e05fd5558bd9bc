"""The client process: `python -m bench.growth.load`. Orders come in, outcomes go out, as JSON lines.

It is started once and serves all points: what is measured begins when it is connected and its jobs
are made. `fill` speaks the bare protocol, to be done with ten million jobs in a minute or two.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bench.stats import percentile
from bench.wire import wire_to
from tenure import AsyncClient, NewJob
from tenure_protocol.body import RAW, encode_body

TASK = "bench"
IN_FLIGHT = 3
"""Requests that one connection has on their way, in batches."""

FILL_CHUNK = 1_000
FILL_IN_FLIGHT = 6
QUEUES_PER_RESERVE = 250
WAIT_SECONDS = 0.2
GIVE_UP_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What shall be done, with which broker."""

    role: str
    host: str
    port: int
    jobs: int
    queues: int
    payload_bytes: int
    connections: int
    chunk: int


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was done, between `begin` and `end` (seconds, monotonic), and how long each one took."""

    begin: float = 0.0
    end: float = 0.0
    done: int = 0
    cpu_seconds: float = 0.0
    p50_us: float | None = None
    p99_us: float | None = None


def queue_name(number: int) -> str:
    """The queues of a point."""
    return f"growth-{number}"


def _bodies(count: int, size: int) -> list[bytes]:
    """Different payloads that do not compress."""
    noise = os.urandom(size + 4_096)
    return [b"%08d" % n + noise[n % 4_096 : n % 4_096 + size - 8] for n in range(count)]


@contextlib.asynccontextmanager
async def _clients(order: Order) -> AsyncIterator[list[AsyncClient]]:
    """The connections, open."""
    url = f"tenure://{order.host}:{order.port}"
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(AsyncClient(url, codec="raw"))
            for _ in range(order.connections)
        ]
        for client in clients:
            await client.ping()
        yield clients


async def one_by_one(order: Order) -> Outcome:
    """Every connection enqueues one job after the other, each confirmed before its next."""
    bodies = iter(_bodies(order.jobs, order.payload_bytes))
    outcome, took = Outcome(), list[float]()

    async def one_client(client: AsyncClient) -> None:
        for body in bodies:
            queue = queue_name(outcome.done % order.queues)
            outcome.done += 1
            begin = time.perf_counter()
            await client.enqueue(queue, TASK, body)
            took.append((time.perf_counter() - begin) * 1e6)

    async with _clients(order) as clients:
        await _together(outcome, map(one_client, clients))
    outcome.p50_us, outcome.p99_us = percentile(took, 0.5), percentile(took, 0.99)
    return outcome


async def batch_enqueue(order: Order) -> Outcome:
    """Every connection enqueues requests of `chunk` jobs, a few of them on their way at a time."""
    share = order.jobs // order.connections
    jobs = [NewJob(TASK, body) for body in _bodies(share, order.payload_bytes)]
    chunks = [jobs[start : start + order.chunk] for start in range(0, share, order.chunk)]
    outcome = Outcome()

    async def one_lane(client: AsyncClient, number: int, lane: int) -> None:
        for index in range(lane, len(chunks), IN_FLIGHT):
            queue = queue_name((number + index) % order.queues)
            ids = await client.enqueue_many(queue, chunks[index], chunk_jobs=order.chunk)
            outcome.done += len(ids)

    async with _clients(order) as clients:
        lanes = (
            one_lane(client, number, lane)
            for number, client in enumerate(clients)
            for lane in range(IN_FLIGHT)
        )
        await _together(outcome, lanes)
    return outcome


async def batch_take(order: Order) -> Outcome:
    """Reserve up to `chunk` jobs and ack them, until `jobs` are done; the queues take turns."""
    outcome, left = Outcome(), order.jobs
    names = [queue_name(number) for number in range(order.queues)]
    groups = [names[n : n + QUEUES_PER_RESERVE] for n in range(0, len(names), QUEUES_PER_RESERVE)]

    async def one_lane(client: AsyncClient, turn: int) -> None:
        nonlocal left
        last = time.monotonic()
        while want := min(order.chunk, left):
            left -= want
            queues, turn = groups[turn % len(groups)], turn + 1
            leased = await client.reserve(queues, max_jobs=want, wait=WAIT_SECONDS)
            left += want - len(leased)
            if leased:
                await client.ack(leased)
                outcome.done += len(leased)
                last = outcome.end = time.monotonic()
            elif time.monotonic() > last + GIVE_UP_SECONDS:
                raise RuntimeError(f"{left} jobs of {order.jobs} did not come")

    async with _clients(order) as clients:
        lanes = (one_lane(client, lane) for client in clients for lane in range(IN_FLIGHT))
        await _together(outcome, lanes)
    return outcome


async def _together(outcome: Outcome, work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Runs it all at the same time, and takes the time."""
    gc.collect()
    cpu = time.process_time()
    outcome.begin = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for one in work:
            group.create_task(one)
    # The last look of a lane that takes finds nothing, and waits: its work ended before that.
    outcome.end = outcome.end or time.monotonic()
    outcome.cpu_seconds = time.process_time() - cpu


async def fill(order: Order) -> Outcome:
    """Jobs of the same few bodies, as fast as the broker takes them."""
    bodies = [
        encode_body(TASK, body, None, RAW) for body in _bodies(FILL_CHUNK, order.payload_bytes)
    ]
    producer, outcome = os.urandom(16), Outcome(begin=time.monotonic())
    cpu, sent, waiting = time.process_time(), 0, 0
    with wire_to(order.host, order.port) as wire:
        while sent < order.jobs or waiting:
            if sent < order.jobs and waiting < FILL_IN_FLIGHT:
                some = bodies[: order.jobs - sent]
                sequence = sent // FILL_CHUNK + 1
                queue = queue_name(sequence % order.queues)
                wire.send(wire.frame("enqueue", [queue, some, producer, sequence])[1])
                sent, waiting = sent + len(some), waiting + 1
                continue
            _, (ids, _) = wire.reply()
            waiting, outcome.done = waiting - 1, outcome.done + len(ids)
    outcome.end, outcome.cpu_seconds = time.monotonic(), time.process_time() - cpu
    return outcome


Role = Callable[[Order], Awaitable[Outcome]]

ROLES: dict[str, Role] = {
    "fill": fill,
    "one-by-one": one_by_one,
    "batch-enqueue": batch_enqueue,
    "batch-take": batch_take,
}


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    with contextlib.suppress(ImportError):
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
        return factory
    return None


def main() -> None:
    """Serves orders until there are no more."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        for line in sys.stdin:
            order = Order(**json.loads(line))
            outcome = runner.run(_run(order))
            print(json.dumps(asdict(outcome)), flush=True)


async def _run(order: Order) -> Outcome:
    return await ROLES[order.role](order)


if __name__ == "__main__":
    main()
