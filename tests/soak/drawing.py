"""The charts of a soak: what was looked at, over its minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.charts import lines
from tests.soak.sampling import Sampled

CHARTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "memory": (
        "Memory of the processes (without mapped files)",
        "MB",
        ("broker MB", "worker MB", "client worker MB", "producer MB", "keeper MB", "checker MB"),
    ),
    "files": ("Files", "MB", ("data file MB", "store used MB", "free MB", "journal MB")),
    "descriptors": (
        "Descriptors and threads",
        "how many",
        (
            "broker descriptors",
            "broker threads",
            "worker descriptors",
            "worker threads",
            "client worker descriptors",
            "producer descriptors",
        ),
    ),
    "latency": (
        "From the call of enqueue to its confirmation, and to the start of the job",
        "ms",
        ("enqueue p50 ms", "enqueue p99 ms", "start p50 ms", "start p99 ms", "commit p99 ms"),
    ),
    "jobs": (
        "What the broker holds",
        "how many",
        ("jobs", "leases", "sessions", "connections", "queues", "checker jobs"),
    ),
    "rows": (
        "Rows of the store",
        "rows",
        ("states rows", "dead rows", "finished rows", "due rows", "producers rows", "notes rows"),
    ),
}
"""File -> title, unit, and which figures are in it."""


def draw(directory: Path, samples: Sequence[Sampled]) -> list[Path]:
    """Writes every chart that has something to show; the files."""
    written = []
    for name, (title, unit, figures) in CHARTS.items():
        series = {
            figure: [(s.at_s / 60, s.figures[figure]) for s in samples if figure in s.figures]
            for figure in figures
        }
        series = {figure: points for figure, points in series.items() if points}
        if series:
            path = directory / f"soak-{name}.svg"
            lines(
                path,
                title,
                series,
                xlabel="minutes",
                ylabel=unit,
                log_y=name in ("latency", "rows"),
            )
            written.append(path)
    return written
