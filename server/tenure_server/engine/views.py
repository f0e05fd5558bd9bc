"""Jobs as they are shown: the info maps of `get`, `peek`, `wait` and the dead-letter listings."""

from __future__ import annotations

from collections.abc import Mapping

from tenure_server.engine.leases import Lease
from tenure_server.engine.queues import Queue
from tenure_server.engine.types import Now
from tenure_storage.layout import (
    CANCEL_ASKED,
    RETRYING,
    Record,
    StateRow,
    extras_of,
    unpack_history,
)

NO_STATE = StateRow(0, b"", 0, 0, 0, 0, 0, 0, b"")
"""What is remembered of a job that has nothing to remember."""


def waiting_state(flags: int, ready_at_ms: int, now: Now) -> str:
    """The state of a job that waits in line."""
    if ready_at_ms <= now.wall_ms:
        return "ready"
    return "retrying" if flags & RETRYING else "scheduled"


def job_info(
    queue: Queue,
    job_id: bytes,
    record: Record,
    *,
    shown_state: str,
    priority: int,
    ready_at_ms: int,
    state: StateRow | None,
    lease: Lease | None,
    now: Now,
    result: bytes | None = None,
    ended_at_ms: int | None = None,
    reason: str | None = None,
    body: bool = True,
    notes: Mapping[str, object],
) -> dict[str, object]:
    """Everything known of a job, as it travels."""
    known = state or NO_STATE
    extras = extras_of(record)
    return {
        "id": job_id,
        "queue": queue.name,
        "state": shown_state,
        "body": record.body if body else None,
        "priority": priority,
        "ready_at_ms": ready_at_ms,
        "enqueued_at_ms": record.enqueued_at_ms,
        "expires_at_ms": record.expires_at_ms or None,
        "origin": record.origin.decode(errors="replace"),
        "attempt": lease.attempt if lease else known.attempt,
        "max_attempts": record.max_attempts or queue.settings.max_attempts,
        "lease_ms": record.lease_ms or queue.settings.lease_ms,
        "failures": known.failures,
        "timeouts": known.timeouts,
        "lost": known.lost,
        "released": known.released,
        "unique": extras.get("unique"),
        "worker": lease.worker.decode(errors="replace") if lease else None,
        "leased_until_ms": now.wall_ms + lease.until_ms - now.mono_ms if lease else None,
        "cancel_asked": bool(known.flags & CANCEL_ASKED),
        "history": [list(attempt) for attempt in unpack_history(known.history)],
        "result": result,
        "ended_at_ms": ended_at_ms,
        "reason": reason,
        "durability": queue.settings.durability,
        "progress": notes.get("progress"),
        "log": notes.get("log") or [],
        "checkpoint": notes.get("checkpoint"),
    }
