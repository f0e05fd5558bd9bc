"""The charts: each axis from left to right, a line for every kind of work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.charts import lines
from bench.growth.points import SPEEDS, Point
from bench.rows import Summary

LABELS = {
    "backlog": "jobs waiting (100 B each)",
    "queues": "queues",
    "payload": "bytes of a payload",
    "connections": "connections at work",
}

Series = dict[str, list[tuple[float, float]]]


def draw(
    stem: Path, axis: str, points: Sequence[Point], summaries: Sequence[Summary]
) -> list[Path]:
    """Writes the charts of an axis beside the result file; the files."""
    by_name = {summary.name: summary for summary in summaries}
    label, written = LABELS[axis], list[Path]()

    def write(kind: str, title: str, unit: str, series: Series, *, log_y: bool) -> None:
        path = stem.with_name(f"{stem.name}-{axis}-{kind}.svg")
        lines(path, title, series, xlabel=label, ylabel=unit, log_x=True, log_y=log_y)
        written.append(path)

    speeds = {role: _series(points, by_name, role, lambda row: row.value) for role in SPEEDS}
    write("speed", f"Throughput by {label}", "jobs/s", speeds, log_y=True)
    latency = {
        "enqueue p50": _series(points, by_name, "one-by-one", lambda row: row.p50_us or 0.0),
        "enqueue p99": _series(points, by_name, "one-by-one", lambda row: row.p99_us or 0.0),
    }
    write("latency", f"One enqueue at a time, by {label}", "us", latency, log_y=True)
    if axis == "backlog":
        memory = {"memory": _series(points, by_name, "memory", lambda row: row.value)}
        write("memory", f"Memory of the broker by {label}", "MB", memory, log_y=False)
        disk = {"disk": _series(points, by_name, "disk", lambda row: row.value)}
        write("disk", f"Disk by {label}", "MB", disk, log_y=True)
        restart = {"after kill -9": _series(points, by_name, "restart", lambda row: row.value)}
        write("restart", f"From start to the first job, by {label}", "ms", restart, log_y=False)
    return written


def _series(
    points: Sequence[Point],
    by_name: dict[str, Summary],
    role: str,
    value: Callable[[Summary], float],
) -> list[tuple[float, float]]:
    return [(point.size, value(by_name[f"{point.name} {role}"])) for point in points]
