"""A long line of waiting jobs: what it costs in memory, disk, speed and time to start again."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

from bench.broker import Broker, start_broker
from bench.load import Order
from bench.procfs import disk_bytes, memory_of
from bench.rows import Row
from bench.stage import LoadError, Stage
from bench.wire import wire_to

CHUNK = 1_000
QUEUE = "backlog"
PROBE_QUEUE = "probe"
MEGABYTE = 1e6


def backlog(stage: Stage) -> Iterator[Row]:
    """Cost of a batch before and behind a million queued jobs, memory, disk, restarts.

    `backlog-memory` counts the pages of the store that happen to be mapped (the kernel takes
    them back when it needs room); `backlog-memory-private` is without them.
    """
    jobs = stage.sizes.backlog_jobs
    broker = start_broker(stage.new_data_dir())
    try:
        fresh = memory_of(broker.pid)
        yield from _probe(stage, broker, PROBE_QUEUE, "before")
        warm, disk_before = memory_of(broker.pid), disk_bytes(broker.data_dir)
        yield _fill(stage, broker, "backlog-fill", jobs)
        full, disk_after = memory_of(broker.pid), disk_bytes(broker.data_dir)
        conditions = stage.conditions()
        yield Row(
            name="backlog-memory",
            value=(full.pss_bytes - fresh.pss_bytes) / MEGABYTE,
            unit="MB",
            conditions=conditions,
            jobs=jobs,
            extras={
                "fresh MB": fresh.pss_bytes / MEGABYTE,
                "after the probe MB": warm.pss_bytes / MEGABYTE,
                "full MB": full.pss_bytes / MEGABYTE,
            },
        )
        yield Row(
            name="backlog-memory-private",
            value=(full.anonymous_bytes - fresh.anonymous_bytes) / MEGABYTE,
            unit="MB",
            conditions=conditions,
            jobs=jobs,
        )
        yield Row(
            name="backlog-disk",
            value=(disk_after - disk_before) / jobs,
            unit="B/job",
            conditions=conditions,
            jobs=jobs,
            extras={"store MB": disk_after / MEGABYTE},
        )
        yield from _probe(stage, broker, QUEUE, "behind")
        for how, row in (
            (signal.SIGTERM, "backlog-restart"),
            (signal.SIGKILL, "backlog-restart-after-kill"),
        ):
            broker, measured = _restart(stage, broker, how, row)
            yield measured
        _check_count(broker, jobs)
    finally:
        broker.process.kill()
        broker.process.wait()


def _fill(stage: Stage, broker: Broker, row: str, jobs: int, queue: str = QUEUE) -> Row:
    order = Order(
        role="enqueue-batch",
        host=broker.host,
        port=broker.port,
        queue=queue,
        jobs=jobs,
        chunk=CHUNK,
    )
    return stage.run(row, broker, [order]).speed(row, jobs=jobs)


def _probe(stage: Stage, broker: Broker, queue: str, where: str) -> Iterator[Row]:
    """Enqueue some jobs more, and take as many."""
    jobs = stage.sizes.probe_jobs
    yield _fill(stage, broker, f"backlog-{where}-enqueue", jobs, queue)
    row = f"backlog-{where}-consume"
    order = Order(
        role="consume-batch",
        host=broker.host,
        port=broker.port,
        queue=queue,
        jobs=jobs,
        chunk=CHUNK,
        in_flight=2,
    )
    yield stage.run(row, broker, [order]).speed(row, jobs=jobs)


def _restart(stage: Stage, broker: Broker, how: signal.Signals, row: str) -> tuple[Broker, Row]:
    """Ends the broker and starts it again: from the start of its process to the first job."""
    stop_seconds = broker.stop(how)
    conditions = stage.conditions()
    broker = start_broker(broker.data_dir)
    try:
        listening = time.monotonic() - broker.begun
        with wire_to(broker.host, broker.port) as wire:
            leased = wire.call("reserve", [[QUEUE], 1, 0])
            seconds = time.monotonic() - broker.begun
            if len(leased) != 1:
                raise LoadError(f"{row}: the first reserve brought no job")
            wire.call("release", [[[leased[0][0], leased[0][1]]]])
    except BaseException:
        broker.process.kill()
        broker.process.wait()
        raise
    measured = Row(
        name=row,
        value=1e3 * seconds,
        unit="ms",
        conditions=conditions,
        seconds=seconds,
        extras={
            "stop ms": 1e3 * stop_seconds,
            "listening ms": 1e3 * listening,
            "MB after": memory_of(broker.pid).pss_bytes / 1e6,
        },
    )
    return broker, measured


def _check_count(broker: Broker, jobs: int) -> None:
    with wire_to(broker.host, broker.port) as wire:
        left = wire.call("queue.get", {"queue": QUEUE})["jobs"]
    if left != jobs:
        raise LoadError(f"{left} jobs are queued after the restarts instead of {jobs}")
