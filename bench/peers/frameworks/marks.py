"""How a task says that it began: 16 bytes appended to a file, the same for every framework.

A mark is the task's number and CLOCK_MONOTONIC in nanoseconds, which all processes of the
machine share. Imports the standard library only, for it runs in every framework's environment.
"""

from __future__ import annotations

import functools
import os
import struct
import time
from pathlib import Path

MARKS_VARIABLE = "BENCH_MARKS"
"""Where tasks write their marks: the path of a file."""

BROKER_VARIABLE = "BENCH_BROKER"
"""The broker's URL, for apps and producers."""

_RECORD = struct.Struct("<QQ")


def mark(number: int) -> None:
    """Writes down that task `number` began now."""
    now_ns = time.monotonic_ns()
    os.write(_marks(), _RECORD.pack(number, now_ns))


@functools.cache
def _marks() -> int:
    # A fork may keep it: what is appended is never torn.
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
    return os.open(os.environ[MARKS_VARIABLE], flags, 0o666)


def count_marks(path: Path) -> int:
    """How many tasks have begun so far."""
    try:
        return path.stat().st_size // _RECORD.size
    except FileNotFoundError:
        return 0


def read_marks(path: Path) -> list[tuple[int, int]]:
    """Number and moment of every task that began, in the order they were written."""
    data = path.read_bytes() if path.exists() else b""
    whole = len(data) // _RECORD.size * _RECORD.size
    return [(number, at_ns) for number, at_ns in _RECORD.iter_unpack(data[:whole])]
