"""The program that enqueues: `python -m bench.peers.frameworks.producer APP ORDER ...`.

    enqueue ONE MANY     ONE jobs one after the other, then MANY in the app's best way
    fill JOBS            that many jobs for a worker, in the best way
    probe JOBS SECONDS   for an idle worker, the next job some time after the last one began

APP is a module with a `CLIENT`. What was measured is printed as one line of JSON. Imports the
standard library only, for it runs in every framework's environment (`bullmq_app.mjs` is its twin
for Node).
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from bench.peers.frameworks.marks import MARKS_VARIABLE, count_marks

PROBE_FIRST = 1_000_000
"""The number of the first probe, above that of every other job."""

PROBE_GAP_SECONDS = (0.02, 0.06)
"""After a probe began, until the next: the worker is idle again by then."""

LOOK_SECONDS = 0.001
BEGIN_SECONDS_MAX = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How an app enqueues: functions, or coroutine functions all of them.

    `enqueue_many` is its best way for many; None where it has none but a loop.
    """

    enqueue: Callable[[int], object]
    enqueue_many: Callable[[Sequence[int]], object] | None = None
    begin: Callable[[], object] | None = None
    end: Callable[[], object] | None = None

    @property
    def is_async(self) -> bool:
        """Whether the functions are coroutine functions."""
        return inspect.iscoroutinefunction(self.enqueue)


def enqueue(client: Client, one: int, many: int) -> dict[str, object]:
    """Jobs per second, one after the other and in the best way. One job before is not timed."""
    client.enqueue(0)
    began = time.perf_counter()
    for number in range(one):
        client.enqueue(number)
    one_seconds = time.perf_counter() - began
    began = time.perf_counter()
    fill(client, many)
    return _speeds(one, one_seconds, many, time.perf_counter() - began)


def fill(client: Client, jobs: int) -> None:
    """Jobs 0 to `jobs` - 1, in the best way."""
    if client.enqueue_many is not None:
        client.enqueue_many(range(jobs))
        return
    for number in range(jobs):
        client.enqueue(number)


def probe(client: Client, jobs: int, seconds: float) -> dict[str, object]:
    """When each job was given to `enqueue` (ns); fewer than `jobs` when `seconds` are over."""
    marks, gap = Path(os.environ[MARKS_VARIABLE]), random.Random(7)
    before, called_ns = count_marks(marks), list[int]()
    deadline = time.monotonic() + seconds
    while len(called_ns) < jobs and (time.monotonic() < deadline or not called_ns):
        time.sleep(gap.uniform(*PROBE_GAP_SECONDS))
        called_ns.append(time.monotonic_ns())
        client.enqueue(PROBE_FIRST + len(called_ns) - 1)
        began_by = time.monotonic() + BEGIN_SECONDS_MAX
        while count_marks(marks) < before + len(called_ns) and time.monotonic() < began_by:
            time.sleep(LOOK_SECONDS)
    return {"called_ns": called_ns}


async def aenqueue(client: Client, one: int, many: int) -> dict[str, object]:
    """As `enqueue`, in asyncio."""
    one_job = cast("Callable[[int], Awaitable[object]]", client.enqueue)
    await one_job(0)
    began = time.perf_counter()
    for number in range(one):
        await one_job(number)
    one_seconds = time.perf_counter() - began
    began = time.perf_counter()
    await afill(client, many)
    return _speeds(one, one_seconds, many, time.perf_counter() - began)


async def afill(client: Client, jobs: int) -> None:
    """As `fill`, in asyncio."""
    if client.enqueue_many is not None:
        await cast("Awaitable[object]", client.enqueue_many(range(jobs)))
        return
    for number in range(jobs):
        await cast("Awaitable[object]", client.enqueue(number))


async def aprobe(client: Client, jobs: int, seconds: float) -> dict[str, object]:
    """As `probe`, in asyncio."""
    marks, gap = Path(os.environ[MARKS_VARIABLE]), random.Random(7)
    before, called_ns = count_marks(marks), list[int]()
    deadline = time.monotonic() + seconds
    while len(called_ns) < jobs and (time.monotonic() < deadline or not called_ns):
        await asyncio.sleep(gap.uniform(*PROBE_GAP_SECONDS))
        called_ns.append(time.monotonic_ns())
        await cast("Awaitable[object]", client.enqueue(PROBE_FIRST + len(called_ns) - 1))
        began_by = time.monotonic() + BEGIN_SECONDS_MAX
        # Another process writes: there is no event to wait for.
        while count_marks(marks) < before + len(called_ns) and time.monotonic() < began_by:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)
    return {"called_ns": called_ns}


def _speeds(one: int, one_seconds: float, many: int, many_seconds: float) -> dict[str, object]:
    return {"one_per_s": one / one_seconds, "many_per_s": many / many_seconds if many else 0.0}


def run(client: Client, order: Sequence[str]) -> dict[str, object]:
    """What an order says, by functions."""
    kind, *numbers = order
    if client.begin is not None:
        client.begin()
    try:
        if kind == "enqueue":
            return enqueue(client, int(numbers[0]), int(numbers[1]))
        if kind == "probe":
            return probe(client, int(numbers[0]), float(numbers[1]))
        fill(client, int(numbers[0]))
        return {}
    finally:
        if client.end is not None:
            client.end()


async def arun(client: Client, order: Sequence[str]) -> dict[str, object]:
    """What an order says, by coroutine functions."""
    kind, *numbers = order
    if client.begin is not None:
        await cast("Awaitable[object]", client.begin())
    try:
        if kind == "enqueue":
            return await aenqueue(client, int(numbers[0]), int(numbers[1]))
        if kind == "probe":
            return await aprobe(client, int(numbers[0]), float(numbers[1]))
        await afill(client, int(numbers[0]))
        return {}
    finally:
        if client.end is not None:
            await cast("Awaitable[object]", client.end())


def main(arguments: Sequence[str]) -> None:
    """Does what the command line says."""
    app, *order = arguments
    client: Client = importlib.import_module(app).CLIENT
    if client.is_async:
        try:
            uvloop = importlib.import_module("uvloop")
        except ImportError:
            done = asyncio.run(arun(client, order))
        else:
            done = uvloop.run(arun(client, order))
    else:
        done = run(client, order)
    print(json.dumps(done), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
