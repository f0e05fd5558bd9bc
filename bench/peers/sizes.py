"""How much work each row does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Jobs at most, and seconds at most, of each row; slow peers end by the clock.

    `crowd` producers and as many consumers. `sync_jobs` are traced.
    `default_rounds` is how often peers that do not sync take part. `settle_seconds` are for
    what a server does behind its last confirmation, before somebody looks at it.
    """

    one_jobs: int = 4_000
    one_seconds: float = 1.5
    many_jobs: int = 100_000
    many_seconds: float = 2.0
    crowd: int = 8
    crowd_batch: int = 100
    crowd_seconds: float = 3.0
    crowd_batch_seconds: float = 2.0
    backlog_jobs: int = 1_000_000
    sync_jobs: int = 50
    disk_samples: int = 300
    patience_seconds: float = 0.6
    default_rounds: int = 2
    settle_seconds: float = 0.5


FULL = Sizes()

QUICK = Sizes(
    one_jobs=200,
    one_seconds=0.3,
    many_jobs=5_000,
    many_seconds=0.3,
    crowd_seconds=0.5,
    crowd_batch_seconds=0.3,
    backlog_jobs=5_000,
    sync_jobs=10,
    disk_samples=50,
    patience_seconds=0.0,
    default_rounds=1,
    settle_seconds=0.1,
)

TINY = Sizes(
    one_jobs=20,
    one_seconds=0.2,
    many_jobs=200,
    many_seconds=0.2,
    crowd=2,
    crowd_batch=10,
    crowd_seconds=0.2,
    crowd_batch_seconds=0.2,
    backlog_jobs=200,
    sync_jobs=5,
    disk_samples=10,
    patience_seconds=0.0,
    default_rounds=1,
    settle_seconds=0.0,
)
