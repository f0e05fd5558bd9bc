"""The only place that reads the time. Everything else is told."""

from __future__ import annotations

import time

from tenure_server.engine import Now

CLOCK_CUT_MS = 1
"""Moments are cut to whole milliseconds: what began late in one began up to this much later than told."""


def now() -> Now:
    """Wall time (ms since 1970) and monotonic time (ms); the engine copes with steps of the first."""
    return Now(time.time_ns() // 1_000_000, time.monotonic_ns() // 1_000_000)


def mono_us() -> int:
    """Monotonic microseconds, to measure with."""
    return time.monotonic_ns() // 1_000
