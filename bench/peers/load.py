"""One client process: `python -m bench.peers.load ORDER`, where ORDER is an `Order` as JSON.

As in `bench.load`: it prepares, prints a line to say that it is ready, waits for a line on
stdin, does its work, and prints the `Outcome` as JSON. Clocks are CLOCK_MONOTONIC.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.load import payloads
from bench.peers.contract import Driver, Target, library
from bench.peers.drivers import open_driver
from bench.stats import percentile

CONNECT_SECONDS_MAX = 120.0
RETRY_SECONDS = 0.005
WORK_SECONDS_MAX = 600
"""A client that works for longer hangs: the system ends it."""

PAYLOADS_MAX = 100_000
"""Payloads made in advance; a longer row has them again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one client process shall do; a role ignores the fields that it has no use for.

    Work ends after `jobs` jobs, or after `seconds` if that is not 0, whatever comes first.
    `batch` is how many jobs a member of a crowd handles at a time, `crowd` how many producers
    it has, and how many consumers.
    """

    role: str
    driver: str
    mode: str
    port: int
    jobs: int = 0
    seconds: float = 0.0
    batch: int = 1
    crowd: int = 0

    def target(self, role: str) -> Target:
        """The server, for a client of that role."""
        return Target(driver=self.driver, mode=self.mode, port=self.port, role=role)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What was done between `begin` and `end` (seconds, monotonic); `made` in a crowd only."""

    begin: float = 0.0
    end: float = 0.0
    done: int = 0
    made: int = 0
    cpu_seconds: float = 0.0
    p50_us: float | None = None
    p99_us: float | None = None
    errors: list[str] = field(default_factory=list)


Ready = Callable[[], None]


async def prepare(order: Order, ready: Ready) -> Outcome:
    """Waits until the server serves, and makes the queue."""
    ready()
    outcome = Outcome(begin=time.monotonic())
    driver = await _connected(order, "put")
    outcome.end = time.monotonic()
    await driver.close()
    return outcome


async def first(order: Order, ready: Ready) -> Outcome:
    """After a start of the server: tries until it has served one job."""
    open_driver(order.target("take-one"))  # Has the libraries imported.
    ready()
    outcome = Outcome(begin=time.monotonic())
    driver = await _connected(order, "take-one")
    while not (done := await driver.take()):
        if time.monotonic() - outcome.begin > CONNECT_SECONDS_MAX:
            raise TimeoutError("the server serves, but it has no job")
    outcome.end, outcome.done = time.monotonic(), done
    await driver.close()
    return outcome


async def _connected(order: Order, role: str) -> Driver:
    deadline = time.monotonic() + CONNECT_SECONDS_MAX
    while True:
        driver = open_driver(order.target(role))
        try:
            await driver.connect()
            return driver
        except Exception:
            # Whatever a library raises while its server starts.
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(RETRY_SECONDS)


async def put_one(order: Order, ready: Ready) -> Outcome:
    """One job after the other, each confirmed before the next."""
    bodies = payloads(order.jobs)
    driver = await _connected(order, "put")
    took: list[float] = []
    ready()
    outcome = Outcome(begin=time.monotonic())
    deadline = outcome.begin + (order.seconds or CONNECT_SECONDS_MAX)
    for body in bodies:
        begin = time.perf_counter()
        await driver.put(body)
        took.append((time.perf_counter() - begin) * 1e6)
        if time.monotonic() >= deadline:
            break
    outcome.end = time.monotonic()
    await driver.close()
    return _with_latency(outcome, took)


async def take_one(order: Order, ready: Ready) -> Outcome:
    """Reserve one job and acknowledge it, one after the other, `jobs` times."""
    driver = await _connected(order, "take-one")
    took: list[float] = []
    ready()
    outcome = Outcome(begin=time.monotonic())
    while len(took) < order.jobs:
        begin = time.perf_counter()
        if await driver.take():
            took.append((time.perf_counter() - begin) * 1e6)
        elif time.monotonic() - outcome.begin > CONNECT_SECONDS_MAX:
            raise TimeoutError(f"only {len(took)} of {order.jobs} jobs came")
    outcome.end = time.monotonic()
    await driver.close()
    return _with_latency(outcome, took)


def _with_latency(outcome: Outcome, took: list[float]) -> Outcome:
    outcome.done = len(took)
    outcome.p50_us, outcome.p99_us = percentile(took, 0.5), percentile(took, 0.99)
    return outcome


async def put_all(order: Order, ready: Ready) -> Outcome:
    """Many jobs in the driver's fastest way."""
    bodies = payloads(min(order.jobs, PAYLOADS_MAX))
    driver = await _connected(order, "put")
    ready()
    outcome = Outcome(begin=time.monotonic())
    deadline = outcome.begin + (order.seconds or sys.maxsize)

    def until_the_deadline() -> Iterator[bytes]:
        while outcome.done < order.jobs:
            for body in bodies[: order.jobs - outcome.done]:
                if outcome.done % 100 == 0 and time.monotonic() >= deadline:
                    return
                outcome.done += 1
                yield body

    await driver.put_all(until_the_deadline())
    outcome.end = time.monotonic()
    await driver.close()
    return outcome


async def take_all(order: Order, ready: Ready) -> Outcome:
    """Many jobs in the driver's fastest way."""
    driver = await _connected(order, "take-many")
    ready()
    outcome = Outcome(begin=time.monotonic())
    outcome.done = await driver.take_all(order.jobs)
    outcome.end = time.monotonic()
    await driver.close()
    return outcome


Role = Callable[[Order, Ready], Coroutine[Any, Any, Outcome]]

ROLES: dict[str, Role] = {
    "prepare": prepare,
    "first": first,
    "put-one": put_one,
    "take-one": take_one,
    "put-all": put_all,
    "take-all": take_all,
}


def run(work: Coroutine[Any, Any, Outcome]) -> Outcome:
    """Runs on uvloop where it is installed, as it is in both environments."""
    make_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
    with contextlib.suppress(ImportError):
        make_loop = library("uvloop").new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(work)


def say_ready() -> None:
    """Tells the parent, and waits for its word. Ends the process when the parent is gone."""
    print("ready", flush=True)
    if not sys.stdin.readline():
        raise SystemExit("the bench went away")


def main() -> None:
    """Runs the order of the command line."""
    from bench.peers.crew import crowd  # It forks, and imports this module.

    order = Order(**json.loads(sys.argv[1]))
    signal.alarm(WORK_SECONDS_MAX)
    outcome = crowd(order) if order.role == "crowd" else run(ROLES[order.role](order, say_ready))
    times = os.times()
    outcome.cpu_seconds = times.user + times.system + times.children_user + times.children_system
    print(json.dumps(asdict(outcome)), flush=True)


if __name__ == "__main__":
    main()
