"""What should not grow, taken from each turn by itself: what is compared ran side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.growth.points import SPEEDS, Point
from bench.rows import Row
from bench.stats import median, percentile

THROUGHPUT_SHARE_MIN = 0.9
MEMORY_BYTES_PER_JOB_MAX = 1.5
"""A tenth of what the leanest broker that keeps its jobs in memory takes for one, 15 bytes."""

MEMORY_JOBS_MIN = 10**6
"""With fewer jobs, what a broker has in any case would be shared out to them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A ratio or a weight: the median of all turns, and between what half of them are."""

    name: str
    value: float
    low: float
    high: float
    aim: str
    met: bool

    def text(self) -> str:
        """One line."""
        word = "met" if self.met else "MISSED"
        spread = f"half of them {self.low:.3f} .. {self.high:.3f}"
        return f"{self.name:<58} {self.value:>7.3f}  ({spread})  {self.aim}  {word}"


def findings(points: Sequence[Point], turns: Sequence[Sequence[Row]]) -> list[Finding]:
    """Every point of the backlog axis beside the empty one, and its memory for each job."""
    by_turn = [{row.name: row for row in rows} for rows in turns]
    found: list[Finding] = []
    for point in points:
        if point.backlog == 0:
            continue
        for role in SPEEDS:
            name, base = f"{point.name} {role}", f"{points[0].name} {role}"
            ratios = [rows[name].value / rows[base].value for rows in by_turn]
            found.append(_at_least(f"{role}: {_short(point.backlog)} queued / empty", ratios))
            work = [_cpu(rows[base]) / max(_cpu(rows[name]), 1e-9) for rows in by_turn]
            if min(_cpu(rows[name]) for rows in by_turn) > 0:
                what = f"{role}: broker's CPU per job, empty / {_short(point.backlog)} queued"
                found.append(_at_least(what, work))
        if point.backlog >= MEMORY_JOBS_MIN:
            # In the first round, what only this broker has is its jobs.
            name = f"{point.name} memory"
            grown = "more than at its start MB"
            base = f"{points[0].name} memory"
            bytes_each = [
                1e6 * max(0.0, rows[name].extras[grown] - rows[base].extras[grown]) / point.backlog
                for rows in by_turn
                if name in rows
            ]
            what = f"memory for each of {_short(point.backlog)} queued jobs, bytes"
            found.append(_at_most(what, bytes_each))
    return found


def _cpu(row: Row) -> float:
    return row.cpu_us()[0] or 0.0


def _short(count: int) -> str:
    text = f"{count:,}"
    return f"10^{len(str(count)) - 1}" if text.strip("0,") == "1" and count > 1_000 else text


def _at_least(name: str, values: Sequence[float]) -> Finding:
    return Finding(
        name=name,
        value=median(values),
        low=percentile(values, 0.25),
        high=percentile(values, 0.75),
        aim=f">= {THROUGHPUT_SHARE_MIN}",
        met=median(values) >= THROUGHPUT_SHARE_MIN,
    )


def _at_most(name: str, values: Sequence[float]) -> Finding:
    return Finding(
        name=name,
        value=median(values),
        low=percentile(values, 0.25),
        high=percentile(values, 0.75),
        aim=f"<= {MEMORY_BYTES_PER_JOB_MAX}",
        met=median(values) <= MEMORY_BYTES_PER_JOB_MAX,
    )
