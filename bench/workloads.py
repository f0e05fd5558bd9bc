"""What is measured. Each workload starts its own broker and yields rows as they are ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.backlog import backlog
from bench.broker import Broker
from bench.counters import create_counters
from bench.load import IDLE_GAP_SECONDS, Order
from bench.machine import paused_sync_p50_us
from bench.rows import Row
from bench.stage import Phase, Stage
from bench.taskrows import tasks, worker
from bench.wire import wire_to

CHUNK = 1_000
STREAM_IN_FLIGHT = 500
CROWD = 8

Workload = Callable[[Stage], Iterator[Row]]


def _order(
    broker: Broker,
    role: str,
    jobs: int,
    *,
    queue: str = "bench",
    chunk: int = 1,
    in_flight: int = 1,
) -> Order:
    return Order(
        role=role,
        host=broker.host,
        port=broker.port,
        queue=queue,
        jobs=jobs,
        chunk=chunk,
        in_flight=in_flight,
    )


def batch(stage: Stage) -> Iterator[Row]:
    """Many jobs at a time: enqueue_many in requests of 1,000, reserve 1,000 and ack them."""
    jobs = stage.sizes.batch_jobs
    with stage.broker() as broker:
        fill = _order(broker, "enqueue-batch", jobs, chunk=CHUNK)
        take = _order(broker, "consume-batch", jobs, chunk=CHUNK, in_flight=2)
        share = _order(broker, "consume-batch", 0, chunk=CHUNK, in_flight=2)
        plain = _order(broker, "consume-batch-sync", 0, chunk=CHUNK)
        yield stage.run("batch-enqueue", broker, [fill]).speed("batch-enqueue", jobs=jobs)
        yield stage.run("batch-consume-1", broker, [take]).speed("batch-consume-1", jobs=jobs)
        stage.run("(fill)", broker, [fill])
        yield stage.run("batch-consume-2", broker, [share] * 2).speed("batch-consume-2", jobs=jobs)
        stage.run("(fill)", broker, [fill])
        name = "batch-consume-sync"
        yield stage.run(name, broker, [plain]).speed(name, jobs=jobs)


def stream(stage: Stage) -> Iterator[Row]:
    """Single enqueues over one connection of the async client, many unanswered at a time."""
    jobs = stage.sizes.stream_jobs
    with stage.broker() as broker:
        order = _order(broker, "enqueue-stream", jobs, in_flight=STREAM_IN_FLIGHT)
        phase = stage.run("stream-enqueue", broker, [order])
        yield phase.speed("stream-enqueue", "enqueue", jobs=jobs)
        order = _order(broker, "consume-batch", jobs, chunk=1, in_flight=STREAM_IN_FLIGHT)
        yield stage.run("stream-consume", broker, [order]).speed("stream-consume", jobs=jobs)


def single(stage: Stage) -> Iterator[Row]:
    """One job at a time with the sync client, nothing else going on."""
    jobs = stage.sizes.single_jobs
    with stage.broker() as broker:
        phase = stage.run("single-enqueue", broker, [_order(broker, "enqueue-single", jobs)])
        yield phase.latency("single-enqueue", "enqueue", jobs=jobs)
        phase = stage.run("single-consume", broker, [_order(broker, "consume-single", jobs)])
        yield phase.latency("single-consume", "reserve+ack", "reserve", "ack", jobs=jobs)


def crowd(stage: Stage) -> Iterator[Row]:
    """8 producers and 8 consumers, each one job at a time: in 16 processes, and in two."""
    roles = [("crowd-produce", CROWD), ("crowd-consume", CROWD)]
    with stage.broker() as broker:
        yield _crowd(stage, broker, "crowd-16-processes", roles)
    roles = [("crowd-produce-async", 1), ("crowd-consume-async", 1)]
    with stage.broker() as broker:
        yield _crowd(stage, broker, "crowd-2-processes", roles)
    roles = [("crowd-produce-async", 1), ("crowd-consume-ahead", 1)]
    with stage.broker() as broker:
        yield _crowd(stage, broker, "crowd-2-ahead", roles)


def _crowd(stage: Stage, broker: Broker, row: str, roles: list[tuple[str, int]]) -> Row:
    """The producers' role and the consumers', each in so many processes, 8 clients in all."""
    shared = broker.data_dir.with_suffix(".counters")
    create_counters(shared)
    orders = [
        Order(
            role=role,
            host=broker.host,
            port=broker.port,
            queue="bench",
            seconds=stage.sizes.crowd_seconds,
            connections=CROWD // processes,
            counters=str(shared),
            slot=slot,
        )
        for role, processes in roles
        for slot in range(processes)
    ]
    phase = stage.run(row, broker, orders)
    return _through(phase, row, producers=roles[0][1], seconds=stage.sizes.crowd_seconds)


def _through(phase: Phase, row: str, *, producers: int, seconds: float) -> Row:
    made = sum(outcome.done for outcome in phase.outcomes[:producers])
    taken = sum(outcome.done for outcome in phase.outcomes[producers:])
    return Row(
        name=row,
        value=taken / seconds,
        unit="jobs/s",
        conditions=phase.conditions,
        jobs=taken,
        seconds=seconds,
        extras={"enqueued/s": made / seconds, **phase.commit_extras()},
    )


def idle(stage: Stage) -> Iterator[Row]:
    """A worker waits at an empty queue: from the call of enqueue until it has the job."""
    jobs = stage.sizes.idle_jobs
    with stage.broker() as broker:
        orders = [_order(broker, role, jobs) for role in ("idle-consume", "idle-produce")]
        pause_seconds = sum(IDLE_GAP_SECONDS) / 2
        paused_us = paused_sync_p50_us(stage.directory, stage.sizes.idle_jobs, pause_seconds)
        phase = stage.run("idle-delivery", broker, orders)
        row = phase.latency("idle-delivery", "delivery", "enqueue", jobs=2 * jobs)
        row.extras["fdatasync after a pause p50 us"] = paused_us
        yield row


def memory(stage: Stage) -> Iterator[Row]:
    """The same with a queue of durability "memory": what is left when nothing is synced."""
    sizes, queue = stage.sizes, "fast"
    with stage.broker() as broker:
        with wire_to(broker.host, broker.port) as wire:
            wire.call("queue.create", {"queue": queue, "settings": {"durability": "memory"}})
        jobs = sizes.batch_jobs
        order = _order(broker, "enqueue-batch", jobs, queue=queue, chunk=CHUNK)
        row = "memory-batch-enqueue"
        yield stage.run(row, broker, [order]).speed(row, jobs=jobs)
        order = _order(broker, "consume-batch", jobs, queue=queue, chunk=CHUNK, in_flight=2)
        row = "memory-batch-consume"
        yield stage.run(row, broker, [order]).speed(row, jobs=jobs)
        jobs, row = sizes.stream_jobs, "memory-stream-enqueue"
        order = _order(broker, "enqueue-stream", jobs, queue=queue, in_flight=STREAM_IN_FLIGHT)
        yield stage.run(row, broker, [order]).speed(row, "enqueue", jobs=jobs)
        jobs, row = sizes.single_jobs, "memory-single-enqueue"
        order = _order(broker, "enqueue-single", jobs, queue=queue)
        yield stage.run(row, broker, [order]).latency(row, "enqueue", jobs=jobs)
        row = "memory-single-consume"
        order = _order(broker, "consume-single", jobs, queue=queue)
        yield stage.run(row, broker, [order]).latency(row, "reserve+ack", jobs=jobs)


def wire(stage: Stage) -> Iterator[Row]:
    """The broker alone: frames made in advance, a client that does next to nothing."""
    sizes = stage.sizes
    with stage.broker() as broker:
        jobs, row = sizes.batch_jobs, "wire-batch-enqueue"
        order = _order(broker, "wire-enqueue", jobs, chunk=CHUNK, in_flight=8)
        yield stage.run(row, broker, [order]).speed(row, "enqueue", jobs=jobs)
        row = "wire-batch-consume"
        order = _order(broker, "wire-consume", 0, chunk=CHUNK, in_flight=2)
        yield stage.run(row, broker, [order]).speed(row, jobs=jobs)
        jobs, row = sizes.stream_jobs, "wire-stream-enqueue"
        order = _order(broker, "wire-enqueue", jobs, in_flight=STREAM_IN_FLIGHT)
        yield stage.run(row, broker, [order]).speed(row, "enqueue", jobs=jobs)
        jobs, row = sizes.single_jobs, "wire-single-enqueue"
        order = _order(broker, "wire-enqueue", jobs)
        yield stage.run(row, broker, [order]).latency(row, "enqueue", jobs=jobs)


WORKLOADS: dict[str, Workload] = {
    "batch": batch,
    "stream": stream,
    "single": single,
    "crowd": crowd,
    "idle": idle,
    "memory": memory,
    "wire": wire,
    "tasks": tasks,
    "worker": worker,
    "backlog": backlog,
}
