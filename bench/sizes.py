"""How much work each workload does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Jobs per workload, seconds of the crowd and of the idle worker, samples of the disk."""

    batch_jobs: int = 300_000
    stream_jobs: int = 120_000
    single_jobs: int = 3_000
    idle_jobs: int = 400
    crowd_seconds: float = 8.0
    backlog_jobs: int = 1_000_000
    probe_jobs: int = 100_000
    threads_jobs: int = 16_000
    run_jobs: int = 40_000
    worker_idle_seconds: float = 60.0
    disk_samples: int = 300


FULL = Sizes()

QUICK = Sizes(
    batch_jobs=60_000,
    stream_jobs=20_000,
    single_jobs=500,
    idle_jobs=100,
    crowd_seconds=2.0,
    backlog_jobs=200_000,
    probe_jobs=40_000,
    threads_jobs=4_000,
    run_jobs=8_000,
    worker_idle_seconds=10.0,
    disk_samples=100,
)


def tiny(jobs: int) -> Sizes:
    """Every workload with `jobs` jobs: whether it runs, not how fast."""
    return Sizes(
        batch_jobs=jobs,
        stream_jobs=jobs,
        single_jobs=jobs,
        idle_jobs=jobs,
        crowd_seconds=0.5,
        backlog_jobs=jobs,
        probe_jobs=jobs,
        threads_jobs=jobs,
        run_jobs=jobs,
        worker_idle_seconds=0.5,
        disk_samples=20,
    )
