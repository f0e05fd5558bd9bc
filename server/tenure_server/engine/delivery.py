"""A job as it is delivered, and what a delivery tells of earlier ones."""

from __future__ import annotations

from tenure_server.engine.finding import Live, noted
from tenure_server.engine.space import Space
from tenure_storage.keys import CHECKPOINT
from tenure_storage.layout import HAS_NOTES

PlainDelivery = tuple[bytes, int, str, int, int, bytes, int, int]
"""id, attempt, queue, lease_ms, enqueued_at_ms, body, max_attempts, used."""

Delivery = PlainDelivery | tuple[bytes, int, str, int, int, bytes, int, int, dict[str, object]]
"""A job with a past has one item more, see `past_of`."""


def past_of(space: Space, live: Live) -> tuple[dict[str, object], int]:
    """What a delivery tells of earlier ones (lost leases, the checkpoint), and its size."""
    extra: dict[str, object] = {}
    state = live.state
    if state is None:
        return extra, 0
    if state.lost:
        extra["lost"] = state.lost
    checkpoint = noted(space, live.id, CHECKPOINT) if state.flags & HAS_NOTES else None
    if checkpoint is None:
        return extra, 0
    extra["checkpoint"] = checkpoint
    return extra, len(checkpoint)


def delivered_bytes(job: Delivery) -> int:
    """About how much a delivery adds to a reply."""
    checkpoint = job[8].get("checkpoint") if len(job) > 8 else None
    return len(job[5]) + (len(checkpoint) if isinstance(checkpoint, bytes) else 0)
