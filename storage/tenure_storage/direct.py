"""A file that is written past the page cache, in one call that returns when the disk has it.

A write and an `fdatasync` promise the same in two calls and take 1.7 times as long (measured: 92
and 55 us). Not every file system has such writes: `open_direct` returns None there, or the first
`write` says so with EINVAL, and nothing was written then.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

BLOCK_BYTES = 4096
"""Writes begin at multiples of this and are as long: no disk has larger blocks."""

BUFFER_BYTES = 512 * 1024
"""The longest write."""


class DirectFile:
    """The bytes of a file that exists in full length. Made by `open_direct`."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        # Such writes need memory that begins on a block, as a map of nothing does.
        self._view = memoryview(mmap.mmap(-1, BUFFER_BYTES))

    def write(self, data: bytes, at: int) -> None:
        """Writes `data` at a block's begin, filled up with zeros, and waits until the disk has it.

        Raises `OSError`.
        """
        length = len(data)
        size = -(-length // BLOCK_BYTES) * BLOCK_BYTES
        view = self._view
        view[:length] = data
        view[length:size] = bytes(size - length)
        done = 0
        while done < size:
            done += write_synced(self._handle, view[done:size], at + done)

    def close(self) -> None:
        """Lets go of the file."""
        os.close(self._handle)


def open_direct(path: Path) -> DirectFile | None:
    """Opens a file for such writes; None where the file system has none."""
    flags = os.O_WRONLY | os.O_DIRECT | os.O_DSYNC | os.O_CLOEXEC
    try:
        handle = os.open(path, flags)
    except OSError:
        return None
    return DirectFile(handle)


def write_synced(handle: int, data: memoryview, at: int) -> int:
    """One such write; how many bytes. A name of its own so that tests can make it fail."""
    return os.pwrite(handle, data, at)
