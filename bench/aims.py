"""What each row should reach on two cores. Rows without an aim are there to be compared."""

from __future__ import annotations

from dataclasses import dataclass

from bench.machine import DiskSpeed


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """A bound for a row's value, in the row's unit.

    With `above_sync`, the bound is that much above the p50 of the disk's own `fdatasync`
    (append, in us) in the same round. `p99_at_most` (us) has to be kept to as well.
    """

    at_least: float | None = None
    at_most: float | None = None
    above_sync: float | None = None
    p99_at_most: float | None = None

    def text(self, disk: DiskSpeed) -> str:
        """The bound, to be read."""
        if self.at_least is not None:
            return f">= {self.at_least:,.0f}"
        p99 = "" if self.p99_at_most is None else f", p99 {self.p99_at_most:,.0f}"
        return f"<= {self._most(disk):,.0f}{p99}"

    def met(self, value: float, disk: DiskSpeed, p99_us: float | None = None) -> bool:
        """Whether `value`, and the p99 beside it, keep to the bound."""
        if self.p99_at_most is not None and (p99_us is None or p99_us > self.p99_at_most):
            return False
        if self.at_least is not None:
            return value >= self.at_least
        return value <= self._most(disk)

    def _most(self, disk: DiskSpeed) -> float:
        if self.above_sync is not None:
            return disk.append_p50_us + self.above_sync
        assert self.at_most is not None, "an aim has one bound"
        return self.at_most


_STARTS = Aim(at_most=1_000, p99_at_most=5_000)

AIMS = {
    "batch-enqueue": Aim(at_least=150_000),
    "batch-consume-1": Aim(at_least=120_000),
    "batch-consume-2": Aim(at_least=120_000),
    "stream-enqueue": Aim(at_least=60_000),
    "single-enqueue": Aim(above_sync=200),
    "crowd-16-processes": Aim(at_least=5_000),
    "crowd-2-processes": Aim(at_least=5_000),
    "task-enqueue-1": Aim(above_sync=200),
    "task-enqueue-16": Aim(at_least=4_000),
    "task-enqueue-many": Aim(at_least=60_000),
    "task-run-async": Aim(at_least=12_000),
    "task-run-thread": Aim(at_least=6_000),
    "task-run-process": Aim(at_least=6_000),
    "task-run-process-prefetch": Aim(at_least=6_000),
    "task-idle-latency": _STARTS,
    "task-idle-latency-thread": _STARTS,
    "task-idle-latency-process": _STARTS,
    # Half a thousandth of a core: tools that show percents with one decimal show 0.0.
    "worker-idle-cpu": Aim(at_most=30),
    "backlog-memory": Aim(at_most=50),
    "backlog-memory-private": Aim(at_most=50),
    "backlog-restart": Aim(at_most=1_000),
    "backlog-restart-after-kill": Aim(at_most=1_000),
}
