"""Which hooks a settled job calls, and what they are told."""

from __future__ import annotations

from typing import Any

from tenure.worker.held import Held

SUCCEEDED = "job.succeeded"
FAILED = "job.failed"
RETRYING = "job.retrying"
DEAD = "job.dead"
CANCELLED = "job.cancelled"
RELEASED = "job.released"
LOST = "job.lost"

_BY_STATE = {"retrying": RETRYING, "dead": DEAD, "cancelled": CANCELLED}


def events_of(op: str, outcome: Any) -> list[str]:
    """The kinds of events that an answer of the broker stands for; none for a refusal."""
    if outcome != 0 and outcome[0] != 0:
        return [LOST] if outcome[1] == "LEASE_LOST" else []
    if op == "ack":
        return [SUCCEEDED]
    if op == "release":
        return [RELEASED]
    found = None if outcome == 0 else _BY_STATE.get(outcome[1].get("state", ""))
    if found == CANCELLED:
        return [CANCELLED]
    return [FAILED] if found is None else [FAILED, found]


def event_map(held: Held, item: list[Any] | None, outcome: Any) -> dict[str, Any]:
    """What a hook is told: the job, what was said of it, and what the broker answered."""
    told: dict[str, Any] = {
        "id": held.id,
        "task": held.task,
        "queue": held.queue,
        "attempt": held.attempt,
    }
    if item is not None and len(item) > 2 and type(item[2]) is dict:
        told["error_type"] = item[2].get("error_type")
        told["message"] = item[2].get("message")
        told["failure"] = item[2].get("kind") or "failed"
    if outcome not in (None, 0) and outcome[0] == 0:
        told.update(outcome[1])
    return told
