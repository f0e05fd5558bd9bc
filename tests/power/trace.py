"""The recording that `shim.c` writes: calls as they began and ended, and marks of clients between."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any, NamedTuple

_HEAD = struct.Struct("<IBBHiiIiQqqqII")


class Op(IntEnum):
    """What was called."""

    OPEN = 1
    CLOSE = 2
    WRITE = 3
    SYNC = 4
    TRUNCATE = 5
    ALLOCATE = 6
    RENAME = 7
    UNLINK = 8
    MKDIR = 9
    RMDIR = 10
    MMAP = 11
    FAILED = 12
    """A call was made to fail; `offset` is its number, `error` how."""
    UNKNOWN = 13
    """Something that the model of the disk does not follow."""
    MARK = 100
    """A client said something; `data` is JSON."""


class Kind(IntFlag):
    """Kinds of calls that can be made to fail."""

    WRITE = 1
    SYNC = 2
    OPEN = 4
    SIZE = 8
    NAME = 16
    MMAP = 32


BEGIN, END = 1, 2
DSYNC, CREATE, TRUNCATE, SHARED_WRITE = 1, 2, 4, 8
SHORT_WRITE = 10_000
"""In place of an errno: half of the bytes are written, and the call says so."""


class Event(NamedTuple):
    """One record. Paths are absolute; `token` joins the begin and the end of a call."""

    op: int
    phase: int
    kind: int
    pid: int
    fd: int
    flags: int
    error: int
    token: int
    offset: int
    length: int
    result: int
    path: str
    other: str
    data: bytes


def read_trace(path: Path) -> list[Event]:
    """All records, in the order in which they happened."""
    return list(_records(path.read_bytes()))


def _records(data: bytes) -> Iterator[Event]:
    at = 0
    while at < len(data):
        size, op, phase, kind, pid, fd, flags, error, token, offset, length, result, a, b = (
            _HEAD.unpack_from(data, at)
        )
        start = at + _HEAD.size
        end = at + size
        yield Event(
            op,
            phase,
            kind,
            pid,
            fd,
            flags,
            error,
            token,
            offset,
            length,
            result,
            data[start : start + a].decode(),
            data[start + a : start + a + b].decode(),
            data[start + a + b : end],
        )
        at = end


class Marker:
    """Puts what a client knows into the recording, at its place in time."""

    def __init__(self, trace: Path) -> None:
        self._file = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def __call__(self, **fields: Any) -> None:
        """One mark; one write, so that it is whole."""
        data = json.dumps(fields).encode()
        head = _HEAD.pack(
            _HEAD.size + len(data), Op.MARK, END, 0, os.getpid(), -1, 0, 0, 0, 0, 0, 0, 0, 0
        )
        written = os.write(self._file, head + data)
        assert written == len(head) + len(data), "the recording is cut short"

    def close(self) -> None:
        """Lets go of the file. Idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
