"""What is looked at every few seconds: the processes, the store and the latencies."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.procfs import children_of, cpu_seconds, memory_of
from bench.stats import percentile
from tenure import Client
from tenure.errors import TenureError

MEGABYTE = 1e6

Sample = dict[str, float]
"""Figures by name; one that could not be had is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One look. `lives` says of each process that is looked at which one it was: its pid."""

    at_s: float
    figures: Sample
    lives: Mapping[str, int]
    disturbed: bool
    """Whether something was ended, started or held since the look before."""


def process_figures(name: str, pids: Sequence[int]) -> Sample:
    """Memory, descriptors, threads and CPU time of a process and its children, as sums."""
    figures: Sample = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            memory = memory_of(pid)
            for what, value in {
                "MB": memory.anonymous_bytes / MEGABYTE,
                "mapped MB": memory.pss_bytes / MEGABYTE,
                "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
                "threads": len(os.listdir(f"/proc/{pid}/task")),
                "cpu s": cpu_seconds(pid),
            }.items():
                figures[f"{name} {what}"] = figures.get(f"{name} {what}", 0.0) + value
    return figures


def with_children(pid: int) -> list[int]:
    """A process and its children."""
    return [pid, *children_of(pid)]


def store_figures(client: Client, data_dir: Path) -> Sample:
    """What the broker says of itself, and the size of its files; {} while it is away."""
    try:
        stats = client.stats()
    except TenureError:
        return {}
    store, entries = stats["store"], stats["store"]["entries"]
    figures: Sample = {
        "store used MB": store["used_bytes"] / MEGABYTE,
        "data file MB": store["file_bytes"] / MEGABYTE,
        "free MB": (store["file_bytes"] - store["used_bytes"]) / MEGABYTE,
        "window MB": stats["window_bytes"] / MEGABYTE,
        "commit p50 ms": stats["commit"]["p50_us"] / 1e3,
        "commit p99 ms": stats["commit"]["p99_us"] / 1e3,
    }
    for name in ("jobs", "queues", "leases", "sessions", "connections", "waiting_reserves"):
        figures[name] = stats[name]
    if isinstance(entries, Mapping):
        figures.update({f"{table} rows": count for table, count in entries.items()})
    with contextlib.suppress(OSError):
        figures["journal MB"] = (data_dir / "journal").stat().st_size / MEGABYTE
    return figures


def latency_figures(name: str, samples_ms: Sequence[float]) -> Sample:
    """p50 and p99 of what was measured since the last look."""
    if not samples_ms:
        return {}
    return {f"{name} {what} ms": percentile(samples_ms, share) for what, share in SHARES.items()}


SHARES = {"p50": 0.5, "p99": 0.99}
