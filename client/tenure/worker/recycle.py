"""When a child has served long enough: by jobs, memory or age."""

from __future__ import annotations

import os
from dataclasses import dataclass

from tenure_protocol.durations import format_ms

RSS_BYTES_MIN = 16 * 1024 * 1024
"""No Python process is smaller: with less, each would be replaced as soon as it has started."""

AGE_MS_MIN = 1_000
"""How often ages are looked at."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a child serves; None: for ever."""

    jobs_max: int | None = None
    rss_bytes_max: int | None = None
    age_ms_max: int | None = None

    @property
    def timed(self) -> bool:
        """Whether a child has to be looked at now and then, and not only after its jobs."""
        return self.rss_bytes_max is not None or self.age_ms_max is not None


def why_recycle(limits: Limits, *, jobs: int, rss_bytes: int, age_ms: int) -> str | None:
    """Why a child is to be replaced, for the log; None when it may go on."""
    if limits.jobs_max is not None and jobs >= limits.jobs_max:
        return f"it has run {jobs} jobs"
    if limits.rss_bytes_max is not None and rss_bytes > limits.rss_bytes_max:
        mib = 1024 * 1024
        return f"it uses {rss_bytes // mib} MiB, more than {limits.rss_bytes_max // mib} MiB"
    if limits.age_ms_max is not None and age_ms >= limits.age_ms_max:
        return f"it is {format_ms(age_ms)} old"
    return None


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def rss_of(pid: int) -> int:
    """The resident memory of a process in bytes; 0 where the system does not tell."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0
