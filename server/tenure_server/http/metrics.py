"""`/metrics`: plain figures, turned into Prometheus text only when somebody asks.

Ten thousands of samples take a tenth of a second to write, so they are written in slices
between which clients are served. At most `limits.metric_queues` queues have series of their own.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from tenure_protocol.version import VERSION
from tenure_server.counters import Histogram
from tenure_server.http.queue_figures import SLICE_QUEUES, STATES, QueueFigures, queue_figures
from tenure_server.hub import Hub

CONTENT_TYPE = CONTENT_TYPE_LATEST

Queues = list[tuple[str, QueueFigures]]

_TOTALS = (
    ("tenure_jobs_enqueued", "enqueued", "Jobs stored by enqueues."),
    (
        "tenure_jobs_deduplicated",
        "deduplicated",
        "Enqueued jobs whose unique name was held already.",
    ),
    ("tenure_jobs_rejected", "rejected", "Jobs refused because the queue or the store was full."),
    ("tenure_jobs_leased", "leased", "Deliveries."),
    ("tenure_jobs_succeeded", "succeeded", "Jobs acked."),
    ("tenure_jobs_failed", "failed", "Attempts that failed."),
    ("tenure_jobs_timeouts", "timeouts", "Attempts that their worker gave up for taking too long."),
    ("tenure_jobs_released", "released", "Jobs given back unharmed."),
    ("tenure_jobs_retried", "retried", "Attempts that will be followed by another."),
    ("tenure_jobs_dead", "dead", "Jobs whose attempts were used up."),
    ("tenure_jobs_expired", "expired", "Jobs not started in time."),
    ("tenure_jobs_cancelled", "cancelled", "Jobs cancelled."),
    (
        "tenure_lease_expirations",
        "lost",
        "Leases that ran out, and processes that died with a job.",
    ),
    ("tenure_lease_extensions", "extended", "Leases extended."),
)


_QUEUE_GAUGES: tuple[tuple[str, str, Callable[[QueueFigures], float | None]], ...] = (
    (
        "tenure_queue_oldest_ready_age_seconds",
        "Age of the oldest ready job.",
        lambda queue: queue.oldest_ready_age_ms / 1000,
    ),
    (
        "tenure_queue_backlog_seconds",
        "How long the ready jobs last at the present rate; none while nothing ends.",
        lambda queue: queue.backlog_seconds,
    ),
    ("tenure_queue_paused", "1 while nothing is delivered.", lambda queue: queue.paused),
    ("tenure_queue_limit_jobs", "The most jobs; 0 for no limit.", lambda queue: queue.limit_jobs),
    ("tenure_queue_bytes", "What its unfinished jobs occupy.", lambda queue: queue.bytes),
    ("tenure_consumers", "Reserves that wait.", lambda queue: queue.waiting_reserves),
)


async def exposition(hub: Hub) -> bytes:
    """The figures of now as Prometheus text."""
    figures, folded = await queue_figures(hub)
    parts = [
        _text(_broker_families(hub, folded)),
        _text(ProcessCollector(registry=CollectorRegistry()).collect()),
    ]
    queues = list(figures.items())
    for build in _QUEUE_FAMILIES:
        for start in range(0, max(len(queues), 1), SLICE_QUEUES):
            text = _text([build(queues[start : start + SLICE_QUEUES])])
            # The lines that say what the family is come once.
            parts.append(text if start == 0 else text.split(b"\n", 2)[2])
            await asyncio.sleep(0)
    return b"".join(parts)


class _Families(Collector):
    def __init__(self, families: Iterable[Any]) -> None:
        self._families = families

    def collect(self) -> Iterable[Any]:
        return self._families


def _text(families: Iterable[Any]) -> bytes:
    text: bytes = generate_latest(_Families(families))
    return text


# ---- the broker ------------------------------------------------------------------------


def _broker_families(hub: Hub, folded: int) -> Iterator[Any]:
    counters = hub.counters
    for name, text, value in _gauges(hub, folded):
        yield GaugeMetricFamily(name, text, value=float(value))
    for name, text, count in (
        ("tenure_connections_accepted", "Connections accepted.", counters.accepted),
        ("tenure_received_bytes", "Bytes received from clients.", counters.bytes_in),
        ("tenure_sent_bytes", "Bytes sent to clients.", counters.bytes_out),
    ):
        yield CounterMetricFamily(name, text, value=count)
    for name, text, label, counts in (
        ("tenure_requests", "Requests, by operation.", "op", counters.requests),
        ("tenure_request_errors", "Refusals, by code.", "code", counters.refusals),
        ("tenure_connections_closed", "Closed by the broker.", "reason", counters.closed),
    ):
        yield _labelled(CounterMetricFamily(name, text, labels=[label]), counts)
    yield _histogram(
        "tenure_storage_commit_duration_seconds",
        "From handing a batch to the store until it was durable.",
        counters.commit_us,
        1e6,
    )
    yield _histogram(
        "tenure_storage_batch_jobs",
        "Job rows written or deleted by one commit.",
        counters.batch_jobs,
        1,
    )
    yield _histogram(
        "tenure_event_loop_lag_seconds",
        "How late the loop came to a timer, sampled about once a second.",
        counters.lag_us,
        1e6,
    )
    yield _labelled(
        GaugeMetricFamily("tenure_storage_rows", "Rows of the store.", labels=["table"]),
        hub.capacity.entries(),
    )
    build = GaugeMetricFamily(
        "tenure_build_info", "What runs.", labels=["version", "python", "lmdb"]
    )
    build.add_metric([VERSION, platform.python_version(), hub.capacity.lmdb_version], 1)
    yield build


def _labelled(family: Any, values: dict[str, int]) -> Any:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _gauges(hub: Hub, folded: int) -> Iterator[tuple[str, str, float]]:
    engine, counters, sizes = hub.engine, hub.counters, hub.capacity.sizes()
    stats: Any = engine.stats(hub.clock())
    yield "tenure_connections", "Open client connections.", len(hub.connections)
    yield "tenure_connections_limit", "The most connections served.", hub.connections_max
    yield "tenure_sessions", "Sessions of open connections.", engine.session_count
    yield "tenure_workers", "Workers that are registered.", len(hub.workers)
    yield "tenure_leases", "Jobs in workers' hands.", engine.lease_count
    yield "tenure_waiting_requests", "Reserves and waits held.", engine.waiting_count
    yield "tenure_queues", "Queues.", stats["queues"]
    yield "tenure_window_bytes", "Memory of the windows on the backlog.", stats["window_bytes"]
    yield "tenure_request_bytes", "Bytes of unanswered requests.", hub.request_bytes
    yield "tenure_damaged_records", "Damaged records set aside.", stats["damaged"]
    yield "tenure_draining", "1 while no new work is taken.", engine.draining
    yield "tenure_storage_size_bytes", "Pages in use.", sizes.used_bytes
    yield "tenure_storage_file_bytes", "The size of the data file.", sizes.file_bytes
    yield "tenure_storage_limit_bytes", "Enqueues are refused above it.", sizes.max_bytes
    yield "tenure_storage_free_pages", "Free pages inside the file.", sizes.free_pages
    yield "tenure_storage_readers", "Read transactions open.", sizes.readers
    yield "tenure_storage_full", "1 while enqueues get STORE_FULL.", engine.store_full
    yield "tenure_storage_nearly_full", "1 above 80 % of the limit.", hub.capacity.level != "ok"
    yield "tenure_start_time_seconds", "When the broker started.", hub.started.wall_ms / 1000
    yield (
        "tenure_config_last_reload_success",
        "0 if the last reload was refused.",
        counters.reload_ok,
    )
    yield (
        "tenure_backup_last_success_timestamp_seconds",
        "When the last backup was made; 0 for never since the start.",
        counters.backup_at_ms / 1000,
    )
    yield "tenure_metrics_queues_folded", 'Queues that share queue="other".', folded


def _histogram(name: str, text: str, histogram: Histogram, unit: float) -> HistogramMetricFamily:
    buckets: list[tuple[str, float]] = []
    count = 0
    for bound, inside in zip(histogram.bounds, histogram.buckets, strict=False):
        count += inside
        buckets.append((str(bound / unit), count))
    buckets.append(("+Inf", count + histogram.buckets[-1]))
    family = HistogramMetricFamily(name, text)
    family.add_metric([], buckets, histogram.total / unit)
    return family


# ---- queues ----------------------------------------------------------------------------


def _jobs(queues: Queues) -> Any:
    family = GaugeMetricFamily("tenure_queue_jobs", "Jobs, by state.", labels=["queue", "state"])
    for name, queue in queues:
        for state in STATES:
            family.add_metric([name, state], queue.counts[state])
    return family


def _completed(queues: Queues) -> Any:
    family = CounterMetricFamily(
        "tenure_jobs_completed", "Jobs that ended, by how.", labels=["queue", "outcome"]
    )
    for name, queue in queues:
        for outcome in ("succeeded", "dead", "expired", "cancelled"):
            family.add_metric([name, outcome], queue.totals[outcome])
    return family


def _gauge(name: str, text: str, read: Callable[[QueueFigures], float | None]) -> Build:
    def build(queues: Queues) -> Any:
        family = GaugeMetricFamily(name, text, labels=["queue"])
        for label, queue in queues:
            if (value := read(queue)) is not None:
                family.add_metric([label], value)
        return family

    return build


def _counter(name: str, total: str, text: str) -> Build:
    def build(queues: Queues) -> Any:
        family = CounterMetricFamily(name, text, labels=["queue"])
        for label, queue in queues:
            family.add_metric([label], queue.totals[total])
        return family

    return build


Build = Callable[[Queues], Any]
"""Makes a family of metrics for some queues."""

_QUEUE_FAMILIES: list[Build] = [
    _jobs,
    _completed,
    *(_gauge(*gauge) for gauge in _QUEUE_GAUGES),
    *(_counter(*counter) for counter in _TOTALS),
]
