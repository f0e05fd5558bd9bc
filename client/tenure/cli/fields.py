"""What JSON output holds: the field names of the protocol, ids and times ready for programs.

Payloads are decoded; bytes, which JSON has not, become `{"base64": "…"}`; a payload that
cannot be read becomes null, and `payload_error` says why.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from tenure.errors import PayloadError
from tenure.fleet import WorkerInfo
from tenure.info import AttemptRecord, Chore, DeadGroup, JobInfo, QueueInfo

NESTED_MAX = 100
"""The deepest payload that is shown; Python's own JSON ends not far above."""


def plain(value: object, room: int = NESTED_MAX) -> Any:
    """`value` as JSON can hold it. Raises `ValueError` when it is nested deeper than `room`."""
    if room < 0:
        raise ValueError(f"nested deeper than {NESTED_MAX} levels")
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case bytes() | bytearray():
            return {"base64": b64encode(value).decode()}
        case Mapping():
            return {
                name if isinstance(name, str) else str(plain(name)): plain(each, room - 1)
                for name, each in value.items()
            }
        case list() | tuple():
            return [plain(each, room - 1) for each in value]
        case _:
            return str(value)


def job_fields(job: JobInfo) -> dict[str, Any]:
    """A job, with its payload and result decoded."""
    fields: dict[str, Any] = {
        "id": job.id,
        "queue": job.queue,
        "state": job.state,
        **_body_fields(job),
        "priority": job.priority,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "failures": job.failures,
        "timeouts": job.timeouts,
        "lost": job.lost,
        "released": job.released,
        "enqueued_at_ms": job.enqueued_at_ms,
        "ready_at_ms": job.ready_at_ms,
        "expires_at_ms": job.expires_at_ms,
        "ended_at_ms": job.ended_at_ms,
        "lease_ms": job.lease_ms,
        "leased_until_ms": job.leased_until_ms,
        "worker": job.worker,
        "origin": job.origin,
        "unique": job.unique,
        "cancel_asked": job.cancel_asked,
        "reason": job.reason,
        "durability": job.durability,
        "result": None,
        "progress": None if job.progress is None else dict(job.progress._asdict()),
        "log": list(job.log),
        "checkpoint": plain(job.checkpoint),
        "history": [attempt_fields(past) for past in job.history],
    }
    try:
        fields["result"] = plain(job.result)
    except (PayloadError, ValueError) as error:
        fields["result_error"] = str(error)
    return fields


def _body_fields(job: JobInfo) -> dict[str, Any]:
    if job.body_bytes is None:
        return {"task": None, "headers": None, "payload": None}
    try:
        body = job.body
    except PayloadError as error:
        return {"task": None, "headers": None, "payload": None, "payload_error": str(error)}
    assert body is not None
    fields = {"task": body.task, "headers": plain(body.headers or {}), "payload": None}
    try:
        fields["payload"] = plain(job.payload)
    except (PayloadError, ValueError) as error:
        fields["payload_error"] = str(error)
    return fields


def attempt_fields(past: AttemptRecord) -> dict[str, Any]:
    """One attempt of a job's history."""
    return dict(past._asdict())


def worker_fields(worker: WorkerInfo) -> dict[str, Any]:
    """A worker: all that it told, its jobs by name."""
    shown = {name: plain(value) for name, value in worker.wire.items() if name != "worker"}
    jobs = [dict(job._asdict()) for job in worker.jobs]
    return {"worker": worker.id, **shown, "jobs": jobs}


def queue_fields(queue: QueueInfo) -> dict[str, Any]:
    """A queue with its settings, counts and pace."""
    return {
        "name": queue.name,
        "settings": plain(queue.settings),
        "created_at_ms": queue.created_at_ms,
        "counts": dict(queue.counts),
        "jobs": queue.jobs,
        "bytes": queue.bytes,
        "oldest_ready_age_ms": queue.oldest_ready_age_ms,
        "waiting_reserves": queue.waiting_reserves,
        "rates": dict(queue.rates),
        "backlog_seconds": plain(queue.backlog_seconds),
        "totals": dict(queue.totals),
    }


def group_fields(group: DeadGroup) -> dict[str, Any]:
    """A group of dead jobs that died of the same."""
    return {
        "task": group.task,
        "error_type": group.error_type,
        "reason": group.reason,
        "count": group.count,
        "first_at_ms": group.first_at_ms,
        "last_at_ms": group.last_at_ms,
        "example": group.example,
    }


def chore_fields(chore: Chore) -> dict[str, Any]:
    """Work that the broker does in the background."""
    return {
        "chore": chore.chore,
        "kind": chore.kind,
        "queue": chore.queue,
        "state": chore.state,
        "done": chore.done,
        "skipped": chore.skipped,
        "limit": chore.limit,
        "rate": chore.rate,
        "started_at_ms": chore.started_at_ms,
    }
