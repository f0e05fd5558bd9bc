"""What the shell counts: plain integers in the hot path, turned into metrics only when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from tenure_protocol.errors import CODES

OPERATIONS = (
    "hello", "ping", "enqueue", "reserve", "ack", "fail", "release", "extend", "get", "cancel",
    "wait", "peek", "queue.create", "queue.configure", "queue.list", "queue.get", "queue.pause",
    "queue.resume", "queue.purge", "queue.delete", "dlq.list", "dlq.groups", "dlq.replay",
    "dlq.purge", "chore.get", "chore.list", "chore.cancel", "stats", "drain", "backup.create",
    "goodbye", "note", "keep", "worker.register", "worker.beat", "worker.report", "worker.list",
    "worker.get", "worker.tell", "worker.stacks",
)  # fmt: skip
"""Operations that get a series of their own; any other name counts as "unknown"."""

UNKNOWN = "unknown"

COMMIT_US = (100, 200, 400, 800, 1_500, 3_000, 6_000, 12_000, 25_000, 50_000, 100_000, 250_000,
             1_000_000, 5_000_000)  # fmt: skip
"""Upper bounds of the commit histogram, in microseconds."""
BATCH_JOBS = (0, 1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
"""Upper bounds of the batch size histogram, in job rows."""
LAG_US = (1_000, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000)
"""Upper bounds of the loop lag histogram, in microseconds."""


class Histogram:
    """Counts of whole numbers in fixed buckets: the last bucket is everything above."""

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: tuple[int, ...]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0

    def observe(self, value: int) -> None:
        """Counts `value`."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value


@dataclass(slots=True)
class Counters:
    """Everything the shell has counted since it started."""

    requests: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys((*OPERATIONS, UNKNOWN), 0)
    )
    refusals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CODES, 0))
    """Error replies and fatal frames, by code."""
    closed: dict[str, int] = field(default_factory=dict[str, int])
    """Connections the broker closed on its own account, by reason."""
    accepted: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    batches: int = 0
    commit_us: Histogram = field(default_factory=lambda: Histogram(COMMIT_US))
    batch_jobs: Histogram = field(default_factory=lambda: Histogram(BATCH_JOBS))
    lag_us: Histogram = field(default_factory=lambda: Histogram(LAG_US))
    recent_commit_us: deque[int] = field(default_factory=lambda: deque(maxlen=1024))
    last_lag_us: int = 0
    backup_at_ms: int = 0
    """When the last backup was made; 0 for never."""
    reload_ok: int = 1
    """Whether the last reload of the settings was accepted."""

    def commit_quantile_us(self, share: float) -> int:
        """A quantile of the last commits, in microseconds; 0 before the first."""
        ordered = sorted(self.recent_commit_us)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] if ordered else 0
