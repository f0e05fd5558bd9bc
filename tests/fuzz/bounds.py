"""What an input may cost: processor time and memory."""

from __future__ import annotations

import resource
import signal
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

CPU_S_MAX = 20.0
"""Far more than any input takes on a slow machine, and far less than for ever."""

PEAK_BYTES_MAX = 64 * 1024 * 1024
"""The most memory that the handling of one input may hold at a time. The largest limit of the
small broker is half a megabyte, and a value in a frame becomes at most some eighty bytes."""


class Hang(AssertionError):
    """An input took more processor time than any may."""


@contextmanager
def cpu_bounded(seconds: float = CPU_S_MAX) -> Iterator[None]:
    """Raises `Hang`, where it hangs, if the block uses more processor time."""

    def too_long(number: int, frame: FrameType | None) -> NoReturn:
        raise Hang(f"it still runs after {seconds} s of processor time")

    before = signal.signal(signal.SIGPROF, too_long)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def peak_of(work: Callable[[], object]) -> int:
    """The most memory, in bytes, that `work` held at a time."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def rss_peak_bytes() -> int:
    """The most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
