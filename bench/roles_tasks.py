"""Client processes that use the task API, and one that waits while a worker works."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.load import IDLE_GAP_SECONDS, Order, Outcome, Ready, Role
from bench.moments import open_moments
from bench.wire import Wire, wire_to
from tenure import App

LOOK_SECONDS = 0.01
"""How often it is looked whether a worker has done its jobs."""

BEGIN_SECONDS_MAX = 30.0
"""How long the last task may take to begin."""


class WorkError(Exception):
    """Jobs of a worker failed, or did not begin."""


@contextmanager
def _app_of(order: Order) -> Iterator[App]:
    """The app as the program of a user has it, connected."""
    os.environ["TENURE_URL"] = order.url
    from bench.tasks_app import app

    app.client.ping()
    try:
        yield app
    finally:
        app.close()


def task_enqueue(order: Order, ready: Ready) -> Outcome:
    """`enqueue()` by as many threads as `connections` says, each call confirmed before the next."""
    todo = iter(range(order.jobs))
    took: list[float] = []
    with _app_of(order) as app:
        task: Any = app.tasks[order.task]

        def one_thread() -> None:
            own: list[float] = []
            for number in todo:
                begin = time.perf_counter()
                task.enqueue(number)
                own.append((time.perf_counter() - begin) * 1e6)
            took.extend(own)

        others = [threading.Thread(target=one_thread) for _ in range(order.connections - 1)]
        ready()
        outcome = Outcome(begin=time.monotonic())
        for thread in others:
            thread.start()
        one_thread()
        for thread in others:
            thread.join()
        outcome.end = time.monotonic()
    outcome.done = len(took)
    outcome.latencies_us["enqueue"] = took
    return outcome


def task_enqueue_many(order: Order, ready: Ready) -> Outcome:
    """All jobs in one `app.enqueue_many`, their calls made and checked as they are sent."""
    with _app_of(order) as app:
        task: Any = app.tasks[order.task]
        ready()
        outcome = Outcome(begin=time.monotonic())
        handles = app.enqueue_many(task.s(number) for number in range(order.jobs))
        outcome.end = time.monotonic()
        outcome.done = len({handle.id for handle in handles})
    return outcome


def task_await(order: Order, ready: Ready) -> Outcome:
    """Open the queue, and wait until a worker has done `jobs` jobs of it."""
    with wire_to(order.host, order.port) as wire:
        before = _succeeded(wire, order.queue)
        ready()
        outcome = Outcome(begin=time.monotonic())
        wire.call("queue.resume", {"queue": order.queue})
        while outcome.done < order.jobs:
            time.sleep(LOOK_SECONDS)
            outcome.done = _succeeded(wire, order.queue) - before
        outcome.end = time.monotonic()
    return outcome


def _succeeded(wire: Wire, queue: str) -> int:
    totals: dict[str, int] = wire.call("queue.get", {"queue": queue})["totals"]
    if totals["failed"] or totals["lost"] or totals["timeouts"]:
        raise WorkError(f"jobs of {queue} failed: {totals}")
    return totals["succeeded"]


def task_idle_produce(order: Order, ready: Ready) -> Outcome:
    """Now and then one job for an idle worker, whose task writes down when it began.

    `start`: from the return of `enqueue()` to the task's first line; below 0 when the task was
    first. `whole`: from the call.
    """
    pause = random.Random(7)
    called_ns: list[int] = []
    returned_ns: list[int] = []
    with _app_of(order) as app, open_moments(order.moments) as moments:
        task: Any = app.tasks[order.task]
        ready()
        outcome = Outcome(begin=time.monotonic())
        for slot in range(order.slot, order.slot + order.jobs):
            time.sleep(pause.uniform(*IDLE_GAP_SECONDS))
            called_ns.append(time.monotonic_ns())
            task.enqueue(slot)
            returned_ns.append(time.monotonic_ns())
        outcome.end = time.monotonic()
        began_ns = _await_all(moments, order.slot, order.slot + order.jobs)
    outcome.done = len(began_ns)
    pairs = zip(called_ns, returned_ns, began_ns, strict=True)
    whole, start, enqueue = zip(
        *(((b - c) / 1e3, (b - r) / 1e3, (r - c) / 1e3) for c, r, b in pairs), strict=True
    )
    outcome.latencies_us = {"start": list(start), "whole": list(whole), "enqueue": list(enqueue)}
    return outcome


def _await_all(moments: memoryview, first: int, last: int) -> list[int]:
    deadline = time.monotonic() + BEGIN_SECONDS_MAX
    while not all(began_ns := moments[first:last].tolist()):
        if time.monotonic() > deadline:
            missing = began_ns.count(0)
            raise WorkError(f"{missing} tasks did not begin in {BEGIN_SECONDS_MAX:.0f} s")
        time.sleep(LOOK_SECONDS)
    return began_ns


def task_idle(order: Order, ready: Ready) -> Outcome:
    """Nothing, for `seconds`."""
    ready()
    outcome = Outcome(begin=time.monotonic())
    time.sleep(order.seconds)
    outcome.end = time.monotonic()
    return outcome


TASK_ROLES: dict[str, Role] = {
    "task-enqueue": task_enqueue,
    "task-enqueue-many": task_enqueue_many,
    "task-await": task_await,
    "task-idle-produce": task_idle_produce,
    "task-idle": task_idle,
}
