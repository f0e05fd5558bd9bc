"""Moments that tasks write and the bench reads: a file of words that all of them have mapped.

A moment is CLOCK_MONOTONIC in nanoseconds, the same clock in every process of the machine; 0
where nobody has written yet.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WORD_BYTES = 8


def create_moments(path: Path, count: int) -> None:
    """A new file of `count` moments, all 0."""
    path.write_bytes(bytes(count * _WORD_BYTES))


def map_moments(path: str) -> memoryview:
    """The moments in `path`, mapped until the process ends."""
    with Path(path).open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("Q")


@contextmanager
def open_moments(path: str) -> Iterator[memoryview]:
    """The moments in `path`, mapped until the end of the block."""
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as shared:
        view = memoryview(shared)
        words = view.cast("Q")
        try:
            yield words
        finally:
            words.release()
            view.release()
