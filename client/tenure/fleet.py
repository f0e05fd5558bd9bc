"""What the broker tells about the workers that are connected to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tenure_protocol.ids import encode_id


class WorkerJob(NamedTuple):
    """A job that a worker runs. Times are the worker's, in ms since 1970."""

    id: str
    attempt: int
    task: str
    queue: str
    started_at_ms: int
    pool: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerInfo:
    """A worker as it told the broker about itself, and when.

    `id` is the broker's, one for each registration; `state` is the worker's word for what it
    does, or "lost" when its connection ended without goodbye. `registered_at_ms` and
    `seen_at_ms` (of its last beat) are the broker's times; `wire` has all that it told.
    """

    id: str
    name: str
    host: str
    pid: int
    version: str
    app: str
    queues: tuple[str, ...]
    concurrency: int
    pools: tuple[Mapping[str, Any], ...]
    started_at_ms: int
    state: str
    busy: int
    slots: int
    rss_bytes: int
    ready: bool
    jobs: tuple[WorkerJob, ...]
    done: int
    failed: int
    children: tuple[Mapping[str, Any], ...]
    client: str
    registered_at_ms: int
    seen_at_ms: int
    wire: Mapping[str, Any] = field(repr=False)


def worker_info(wire: dict[str, Any]) -> WorkerInfo:
    """A worker map as a `WorkerInfo`. Workers are programs of others: odd values become empty."""
    return WorkerInfo(
        id=str(wire["worker"]),
        name=_text(wire, "name"),
        host=_text(wire, "host"),
        pid=_count(wire, "pid"),
        version=_text(wire, "version"),
        app=_text(wire, "app"),
        queues=tuple(str(name) for name in _items(wire, "queues")),
        concurrency=_count(wire, "concurrency"),
        pools=tuple(pool for pool in _items(wire, "pools") if isinstance(pool, dict)),
        started_at_ms=_count(wire, "started_at_ms"),
        state=_text(wire, "state"),
        busy=_count(wire, "busy"),
        slots=_count(wire, "slots"),
        rss_bytes=_count(wire, "rss_bytes"),
        ready=wire.get("ready") is True,
        jobs=tuple(_job(row) for row in _items(wire, "jobs") if _is_job(row)),
        done=_count(wire, "done"),
        failed=_count(wire, "failed"),
        children=tuple(child for child in _items(wire, "children") if isinstance(child, dict)),
        client=_text(wire, "client"),
        registered_at_ms=_count(wire, "registered_at_ms"),
        seen_at_ms=_count(wire, "seen_at_ms"),
        wire=wire,
    )


def _text(wire: dict[str, Any], key: str) -> str:
    value = wire.get(key)
    return value if isinstance(value, str) else ""


def _count(wire: dict[str, Any], key: str) -> int:
    value = wire.get(key)
    return value if type(value) is int else 0


def _items(wire: dict[str, Any], key: str) -> list[Any]:
    value = wire.get(key)
    return value if isinstance(value, list) else []


_JOB_TYPES = (bytes, int, str, str, int, str)


def _is_job(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) >= len(_JOB_TYPES)
        and all(type(part) is kind for part, kind in zip(row, _JOB_TYPES, strict=False))
        and len(row[0]) == 16
    )


def _job(row: list[Any]) -> WorkerJob:
    job_id, attempt, task, queue, started_at_ms, pool = row[:6]
    return WorkerJob(encode_id(job_id), attempt, task, queue, started_at_ms, pool)
