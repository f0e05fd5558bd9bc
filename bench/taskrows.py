"""What is measured of the task layer: `enqueue()` of an app, and a worker that runs its tasks.

Every worker is a real process with its children; the broker keeps every job on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench.broker import Broker
from bench.load import IDLE_GAP_SECONDS, Order
from bench.machine import paused_sync_p50_us
from bench.moments import create_moments
from bench.procfs import run_seconds
from bench.rows import Row
from bench.stage import Phase, Stage
from bench.tasks_app import QUEUE
from bench.wire import wire_to
from bench.worker import Worker, running_worker

THREADS = 16
WARM_UP_JOBS = 100
SETTLE_SECONDS = 2.0
"""After its last job, until a worker counts as idle."""

OTHER_QUEUE = "other"

RUNS = {
    "task-run-async": ("noop", ("--pool", "async", "-c", "100")),
    "task-run-thread": ("noop_blocking", ("--pool", "thread", "-c", "32")),
    "task-run-process": ("noop_blocking", ("--pool", "process", "-c", "2")),
    "task-run-process-prefetch": (
        "noop_blocking",
        ("--pool", "process", "-c", "2", "--prefetch", "50"),
    ),
}
"""Row -> the task, and the options of the worker."""

IDLES = {
    "task-idle-latency": ("stamp", ("--pool", "async")),
    "task-idle-latency-thread": ("stamp_blocking", ("--pool", "thread")),
    "task-idle-latency-process": ("stamp_blocking", ("--pool", "process", "-c", "2")),
}
"""Row -> the task, and the options of the worker."""

IDLE_WORKER = ("--pool", f"io=async:100:{QUEUE}", "--pool", f"cpu=process:2:{OTHER_QUEUE}")


def tasks(stage: Stage) -> Iterator[Row]:
    """`enqueue()` and `enqueue_many()` of an app, and workers of each kind with a no-op task."""
    yield from _enqueues(stage)
    for row in RUNS:
        yield _run(stage, row)
    for row in IDLES:
        yield _idle(stage, row)


def _order(broker: Broker, role: str, task: str, jobs: int, **more: Any) -> Order:
    order = Order(role=role, host=broker.host, port=broker.port, queue=QUEUE, jobs=jobs, task=task)
    return replace(order, **more)


def _enqueues(stage: Stage) -> Iterator[Row]:
    sizes = stage.sizes
    with stage.broker() as broker:
        jobs, row = sizes.single_jobs, "task-enqueue-1"
        phase = stage.run(row, broker, [_order(broker, "task-enqueue", "noop", jobs)])
        yield phase.latency(row, "enqueue", jobs=jobs)
        jobs, row = sizes.threads_jobs, "task-enqueue-16"
        order = _order(broker, "task-enqueue", "noop", jobs, connections=THREADS)
        yield stage.run(row, broker, [order]).speed(row, "enqueue", jobs=jobs)
        jobs, row = sizes.batch_jobs, "task-enqueue-many"
        order = _order(broker, "task-enqueue-many", "noop", jobs)
        yield stage.run(row, broker, [order]).speed(row, jobs=jobs)


def _run(stage: Stage, row: str) -> Row:
    """Jobs wait in a paused queue; the worker is there and warm; the clock starts at the resume."""
    task, options = RUNS[row]
    jobs = stage.sizes.run_jobs
    with stage.broker() as broker:
        _create_queues(broker, QUEUE)
        with running_worker(broker, options, [QUEUE]) as worker:
            _work(stage, "(warm up)", broker, task, min(jobs, WARM_UP_JOBS))
            phase = _work(stage, row, broker, task, jobs, worker)
            return _with_cpu(phase.speed(row, jobs=jobs), phase)


def _work(
    stage: Stage, row: str, broker: Broker, task: str, jobs: int, worker: Worker | None = None
) -> Phase:
    with wire_to(broker.host, broker.port) as wire:
        wire.call("queue.pause", {"queue": QUEUE})
    stage.run("(fill)", broker, [_order(broker, "task-enqueue-many", task, jobs)])
    return stage.run(row, broker, [_order(broker, "task-await", task, jobs)], worker)


def _idle(stage: Stage, row: str) -> Row:
    """A job now and then: from the return of `enqueue()` to the first line of the task."""
    task, options = IDLES[row]
    jobs = stage.sizes.idle_jobs
    warm_up = min(jobs, WARM_UP_JOBS)
    moments = stage.directory / f"{row}.moments"
    create_moments(moments, warm_up + jobs)
    with stage.broker() as broker:
        _create_queues(broker, QUEUE)

        def order(first: int, count: int) -> Order:
            given = {"moments": str(moments), "slot": first}
            return _order(broker, "task-idle-produce", task, count, **given)

        with running_worker(broker, options, [QUEUE], moments) as worker:
            stage.run("(warm up)", broker, [order(0, warm_up)])
            pause_seconds = sum(IDLE_GAP_SECONDS) / 2
            paused_us = paused_sync_p50_us(stage.directory, jobs, pause_seconds)
            phase = stage.run(row, broker, [order(warm_up, jobs)], worker)
            measured = phase.latency(row, "start", "whole", "enqueue", jobs=jobs)
            measured.extras["fdatasync after a pause p50 us"] = paused_us
            return _with_cpu(measured, phase)


def worker(stage: Stage) -> Iterator[Row]:
    """A worker with two pools and three children that has had jobs and now has none.

    Its CPU time is read to the microsecond: ticks of 10 ms would hide what there is.
    """
    row, seconds = "worker-idle-cpu", stage.sizes.worker_idle_seconds
    with stage.broker() as broker:
        queues = [QUEUE, OTHER_QUEUE]
        _create_queues(broker, *queues)
        with running_worker(broker, IDLE_WORKER, queues) as idle_worker:
            _work(stage, "(warm up)", broker, "noop", min(stage.sizes.run_jobs, WARM_UP_JOBS))
            order = _order(broker, "task-idle", "noop", 0, seconds=seconds)
            time.sleep(min(SETTLE_SECONDS, seconds))
            before, server = idle_worker.exact_cpu(), run_seconds(broker.pid)
            phase = stage.run(row, broker, [order])
            used, server = idle_worker.exact_cpu().since(before), run_seconds(broker.pid) - server
            per_minute = 60e3 / phase.seconds
            yield Row(
                name=row,
                value=per_minute * used.seconds,
                unit="ms/min",
                conditions=phase.conditions,
                seconds=phase.seconds,
                extras={
                    "parent ms/min": per_minute * used.parent_seconds,
                    "children ms/min": per_minute * used.children_seconds,
                    "broker ms/min": per_minute * server,
                    "children": len(idle_worker.children),
                },
            )


def _create_queues(broker: Broker, *queues: str) -> None:
    with wire_to(broker.host, broker.port) as wire:
        for queue in queues:
            wire.call("queue.create", {"queue": queue})


def _with_cpu(row: Row, phase: Phase) -> Row:
    """The row, with the CPU time per job of the worker's parent and of its children."""
    used = phase.worker_cpu
    assert used is not None, "the phase had a worker"
    row.extras["parent CPU us/job"] = 1e6 * used.parent_seconds / row.jobs
    row.extras["children CPU us/job"] = 1e6 * used.children_seconds / row.jobs
    return row
