"""The figures: one row of one round, and the same row over all rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.aims import AIMS
from bench.machine import DiskSpeed
from bench.stats import median


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How the machine was while a row was measured.

    CPU in percent of one core; `other` is everybody but the broker and its clients (the
    kernel's own threads too). The disk and the loop are timed right before.
    """

    disk: DiskSpeed
    loop_millions_per_s: float
    broker_cpu_seconds: float | None = None
    clients_cpu_seconds: float | None = None
    broker_cpu_percent: float | None = None
    clients_cpu_percent: float | None = None
    other_cpu_percent: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of one round. `extras` are further figures, by name with unit."""

    name: str
    value: float
    unit: str
    conditions: Conditions
    jobs: int = 0
    seconds: float = 0.0
    p50_us: float | None = None
    p99_us: float | None = None
    extras: dict[str, float] = field(default_factory=dict)

    def cpu_us(self) -> tuple[float | None, float | None]:
        """CPU time per job of the broker and of the clients, in us: what noise harms least."""
        broker, clients = self.conditions.broker_cpu_seconds, self.conditions.clients_cpu_seconds
        if not self.jobs or broker is None or clients is None:
            return None, None
        return 1e6 * broker / self.jobs, 1e6 * clients / self.jobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One row over all rounds: medians, and the smallest and largest value."""

    name: str
    value: float
    low: float
    high: float
    unit: str
    rounds: int
    aim: str
    met: bool | None
    p50_us: float | None
    p99_us: float | None
    broker_us_per_job: float | None
    clients_us_per_job: float | None
    broker_cpu_percent: float | None
    clients_cpu_percent: float | None
    other_cpu_percent: float | None
    disk: DiskSpeed
    loop_millions_per_s: float
    extras: dict[str, float]


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """A summary per row name, in the order of first appearance."""
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    return [_summary(same) for same in by_name.values()]


def _summary(rows: list[Row]) -> Summary:
    name, values = rows[0].name, [row.value for row in rows]
    conditions = [row.conditions for row in rows]
    disk = DiskSpeed(
        append_p50_us=median([one.disk.append_p50_us for one in conditions]),
        append_p99_us=median([one.disk.append_p99_us for one in conditions]),
        overwrite_p50_us=median([one.disk.overwrite_p50_us for one in conditions]),
        overwrite_p99_us=median([one.disk.overwrite_p99_us for one in conditions]),
    )
    value = median(values)
    aim, p99_us = AIMS.get(name), _median_or_none([row.p99_us for row in rows])
    return Summary(
        name=name,
        value=value,
        low=min(values),
        high=max(values),
        unit=rows[0].unit,
        rounds=len(rows),
        aim=aim.text(disk) if aim else "",
        met=aim.met(value, disk, p99_us) if aim else None,
        p50_us=_median_or_none([row.p50_us for row in rows]),
        p99_us=p99_us,
        broker_us_per_job=_median_or_none([row.cpu_us()[0] for row in rows]),
        clients_us_per_job=_median_or_none([row.cpu_us()[1] for row in rows]),
        broker_cpu_percent=_median_or_none([one.broker_cpu_percent for one in conditions]),
        clients_cpu_percent=_median_or_none([one.clients_cpu_percent for one in conditions]),
        other_cpu_percent=_median_or_none([one.other_cpu_percent for one in conditions]),
        disk=disk,
        loop_millions_per_s=median([one.loop_millions_per_s for one in conditions]),
        extras={key: median([row.extras[key] for row in rows]) for key in rows[0].extras},
    )


def _median_or_none(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None
