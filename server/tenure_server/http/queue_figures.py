"""What `/metrics` tells of queues: one set of figures for each series, with a bound on how many there are."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from tenure_server.hub import Hub

OTHER = "other"
"""The label of the queues beyond `limits.metric_queues`."""

STATES = ("ready", "scheduled", "retrying", "leased", "dead", "succeeded", "cancelled", "expired")
"""The states of jobs, as queue infos count them."""

SLICE_QUEUES = 50
"""So many queues are looked at before others get their turn: a millisecond or two."""


@dataclass(slots=True)
class QueueFigures:
    """What is exported of a queue, or of all that share a series."""

    counts: dict[str, int]
    totals: dict[str, int]
    oldest_ready_age_ms: int
    backlog_seconds: float | None
    waiting_reserves: int
    bytes: int
    limit_jobs: int
    paused: int


async def queue_figures(hub: Hub) -> tuple[dict[str, QueueFigures], int]:
    """The figures by the label of their series, and how many queues share the one of `OTHER`."""
    most = hub.limits.metric_queues
    figures: dict[str, QueueFigures] = {}
    seen = 0
    for name in hub.engine.queue_names():
        info = hub.engine.queue_info(name, hub.clock())
        if info is None:  # deleted between two slices
            continue
        seen += 1
        _add(figures, name if seen <= most else OTHER, info)
        if seen % SLICE_QUEUES == 0:
            await asyncio.sleep(0)
    return figures, max(seen - most, 0)


def _add(figures: dict[str, QueueFigures], name: str, info: Any) -> None:
    """Adds a queue info to the series `name`: sums, but the oldest age and the longest backlog."""
    found = figures.get(name)
    if found is None:
        found = figures[name] = QueueFigures(
            dict.fromkeys(STATES, 0), dict.fromkeys(info["totals"], 0), 0, None, 0, 0, 0, 0
        )
    for state in STATES:
        found.counts[state] += info["counts"][state]
    for total, value in info["totals"].items():
        found.totals[total] += value
    found.oldest_ready_age_ms = max(found.oldest_ready_age_ms, info["oldest_ready_age_ms"] or 0)
    if info["backlog_seconds"] is not None:
        found.backlog_seconds = max(found.backlog_seconds or 0.0, info["backlog_seconds"])
    found.waiting_reserves += info["waiting_reserves"]
    found.bytes += info["bytes"]
    found.limit_jobs += info["settings"]["max_jobs"]
    found.paused += info["settings"]["paused"]
