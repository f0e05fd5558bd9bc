"""Queues: settings, counts and totals of a named line of jobs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from tenure_protocol import limits
from tenure_protocol.errors import BadRequest
from tenure_protocol.retry import (
    DEFAULT_POLICY,
    RetryPolicy,
    policy_from_wire,
    policy_to_wire,
)
from tenure_server.engine.fields import flag, text, whole
from tenure_server.engine.lanes import Lane
from tenure_server.engine.space import Space

RETENTION_MS_MAX = 10 * 365 * 86_400_000
"""The longest time an ended job is kept: ten years."""

COUNT_MAX = 1 << 53
"""The largest limit of jobs or bytes."""

VOLATILE_LINES = 1 << 31
"""Lines from here on belong to memory queues and never reach the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a queue treats its jobs. Zero means no limit, or, for retentions, see each."""

    lease_ms: int = 30_000
    max_attempts: int = 5
    retry: RetryPolicy = DEFAULT_POLICY
    priority: int = 128
    max_jobs: int = 0
    max_bytes: int = 0
    retention_ms: int = 0
    """How long succeeded jobs and their results are kept; 0: not at all."""
    ended_retention_ms: int = 86_400_000
    """How long cancelled and expired jobs are kept."""
    dead_retention_ms: int = 0
    """How long dead jobs are kept; 0: until somebody purges or replays them."""
    dlq: bool = True
    poison_after: int = 3
    """A job whose worker vanished so often is dead; 0: never for that reason."""
    durability: str = "disk"
    paused: bool = False


_RANGES: dict[str, tuple[int, int]] = {
    "lease_ms": (limits.LEASE_MS_MIN, limits.LEASE_MS_MAX),
    "max_attempts": (1, limits.ATTEMPTS_MAX),
    "priority": (0, limits.PRIORITY_MAX),
    "max_jobs": (0, COUNT_MAX),
    "max_bytes": (0, COUNT_MAX),
    "retention_ms": (0, RETENTION_MS_MAX),
    "ended_retention_ms": (0, RETENTION_MS_MAX),
    "dead_retention_ms": (0, RETENTION_MS_MAX),
    "poison_after": (0, limits.ATTEMPTS_MAX),
}
_NAMES = tuple(field.name for field in fields(Settings))


def change_settings(old: Settings, changes: Mapping[Any, object]) -> Settings:
    """`old` with `changes`, checked. Raises `BadRequest` that names the setting and what is allowed."""
    checked: dict[str, Any] = {}
    for name, value in changes.items():
        if name in _RANGES:
            checked[name] = whole(value, f"setting {name}", *_RANGES[name])
        elif name == "retry":
            checked[name] = policy_from_wire(value)
        elif name in ("dlq", "paused"):
            checked[name] = flag(value, f"setting {name}", False)
        elif name == "durability":
            if value not in ("disk", "memory"):
                raise BadRequest("setting durability must be 'disk' or 'memory'")
            checked[name] = text(value, name)
        else:
            raise BadRequest(f"there is no setting {name!r}; there are: {', '.join(_NAMES)}")
    return replace(old, **checked)


def settings_to_wire(settings: Settings) -> dict[str, object]:
    """Settings as they travel and are stored."""
    plain: dict[str, object] = {name: getattr(settings, name) for name in _NAMES}
    plain["retry"] = policy_to_wire(settings.retry)
    return plain


TOTALS = (
    "enqueued",
    "deduplicated",
    "rejected",
    "leased",
    "succeeded",
    "failed",
    "timeouts",
    "lost",
    "released",
    "extended",
    "retried",
    "dead",
    "expired",
    "cancelled",
)


class Totals:
    """What happened in a queue since the broker started: plain counters for the hot paths."""

    __slots__ = TOTALS

    def __init__(self) -> None:
        for name in TOTALS:
            setattr(self, name, 0)

    enqueued: int
    deduplicated: int
    rejected: int
    leased: int
    succeeded: int
    failed: int
    timeouts: int
    lost: int
    released: int
    extended: int
    retried: int
    dead: int
    expired: int
    cancelled: int

    def to_wire(self) -> dict[str, int]:
        """The counters by name."""
        return {name: getattr(self, name) for name in TOTALS}


RATE_SPAN_MS = 10_000


class Rate:
    """Events per second over about the last ten seconds, decaying by itself."""

    __slots__ = ("_at_ms", "_value")

    def __init__(self) -> None:
        self._value = 0.0
        self._at_ms = 0

    def add(self, events: int, mono_ms: int) -> None:
        """Counts `events` now."""
        if mono_ms != self._at_ms:
            self._value = self.read(mono_ms)
            self._at_ms = mono_ms
        self._value += events * 1000 / RATE_SPAN_MS

    def read(self, mono_ms: int) -> float:
        """Events per second."""
        return self._value * math.exp((self._at_ms - mono_ms) / RATE_SPAN_MS)


NO_ALARM = 1 << 62
"""A moment that does not come."""

DEAD, SUCCEEDED, CANCELLED, EXPIRED = range(4)
"""Places in a tally."""


class Queue:
    """A queue: its lanes are in `lanes` by priority, ordered in `order`."""

    __slots__ = (
        "alarm_ms",
        "created_at_ms",
        "ended_rate",
        "enqueued_rate",
        "lanes",
        "leased",
        "leased_bytes",
        "leased_rate",
        "line",
        "name",
        "next_forget_ms",
        "number",
        "order",
        "plan",
        "planned_for",
        "settings",
        "space",
        "tally",
        "totals",
    )

    def __init__(
        self,
        name: str,
        number: int,
        line: int,
        settings: Settings,
        space: Space,
        created_at_ms: int,
    ) -> None:
        self.name = name
        self.number = number
        self.line = line
        self.settings = settings
        self.space = space
        self.created_at_ms = created_at_ms
        self.lanes: dict[int, Lane] = {}
        self.order: list[Lane] = []
        self.leased = 0
        self.leased_bytes = 0
        self.tally = [0, 0, 0, 0]
        self.next_forget_ms = 0
        """Nothing of this queue is to be forgotten before this moment."""
        self.alarm_ms = NO_ALARM
        """When somebody who waits is to be served next, by the wall clock."""
        self.plan: object = None
        self.planned_for: tuple[int, bytes, int] = (-1, b"", 0)
        """For which time, origin and priority `plan`, that of a plain job, was made."""
        self.totals = Totals()
        self.enqueued_rate, self.leased_rate, self.ended_rate = Rate(), Rate(), Rate()

    def lane(self, priority: int) -> Lane:
        """The lane of a priority; it comes to be when it is first asked for."""
        lane = self.lanes.get(priority)
        return lane if lane is not None else self.add_lane(Lane(self.line, priority))

    def add_lane(self, lane: Lane) -> Lane:
        """Takes a lane in, in its order."""
        self.lanes[lane.key[4]] = lane
        self.order = [self.lanes[priority] for priority in sorted(self.lanes)]
        self.space.lanes[lane.key] = lane
        return lane

    @property
    def waiting(self) -> int:
        """Jobs in line, due or not."""
        return sum(lane.waiting for lane in self.order)

    @property
    def jobs(self) -> int:
        """Unfinished jobs."""
        return self.waiting + self.leased

    @property
    def bytes(self) -> int:
        """What the unfinished jobs occupy as records."""
        return sum(lane.bytes for lane in self.order) + self.leased_bytes

    def __repr__(self) -> str:
        return f"<Queue {self.name} line={self.line} jobs={self.jobs} leased={self.leased}>"
