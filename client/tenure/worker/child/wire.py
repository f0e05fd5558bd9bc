"""The child's end of the pipe: messages in and out, from any thread."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from tenure.packing import pack
from tenure.worker.pipe import frames, new_decoder, unpack

ORPHANED_STATUS = 75
"""The exit status of a child whose parent has gone; nobody is there to see it."""

# Above 128 KiB the allocator maps fresh memory for each read, which takes longer than the read.
_READ_BYTES = 64 * 1024


def end_orphaned() -> NoReturn:
    """End the process: the parent has gone, and whatever still runs here has lost its lease.

    What it has started ends with it, as the parent would have seen to.
    """
    with suppress(OSError):
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
    os._exit(ORPHANED_STATUS)


def _end_cut_off(error: OSError) -> NoReturn:
    if error.errno in (errno.EBADF, errno.ENOTSOCK):
        os._exit(
            ORPHANED_STATUS
        )  # a job has closed the descriptor: the parent is there and sees it
    end_orphaned()


class Wire:
    """The socket. `handle` is called with each message, by whichever thread reads it."""

    def __init__(self, sock: socket.socket, handle: Callable[[list[Any]], None]) -> None:
        self._sock = sock
        self._handle = handle
        self._decoder = new_decoder()
        self._reading = threading.Lock()
        self._out: deque[bytes] = deque()
        self._writing = threading.Lock()
        self._is_copy = False
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        # The pipe is its parent's, who still speaks and hears there.
        self._is_copy = True
        self._reading = threading.Lock()

    def fileno(self) -> int:
        """The socket's number, to wait for it."""
        return self._sock.fileno()

    def read_on(self, loop: asyncio.AbstractEventLoop, read: Callable[[], None]) -> None:
        """Let `loop` call `read` whenever something has come."""
        loop.add_reader(self._sock.fileno(), read)
        # uvloop makes every file it watches non-blocking, for all who use it. Then a wait would
        # spin, and a write that the parent is slow to take would fail.
        self._sock.setblocking(True)

    # -- out --------------------------------------------------------------------------------

    def put(self, message: list[Any]) -> None:
        """A message for the next `flush`."""
        self._out.append(pack(message))

    def send(self, message: list[Any]) -> None:
        """A message, and all that were put before, now."""
        self._out.append(pack(message))
        self.flush()

    def flush(self) -> None:
        """Write what was put, in one piece. If another thread writes, it writes this as well."""
        out = self._out
        if self._is_copy:
            out.clear()
        # Looked at again after each release: whoever found the lock taken has gone.
        while out and self._writing.acquire(blocking=False):
            try:
                self._sock.sendall(frames([out.popleft() for _ in range(len(out))]))
            except OSError as error:
                _end_cut_off(error)
            finally:
                self._writing.release()

    def drain(self) -> None:
        """Write what was put, waiting for other threads that write: nothing is left after this."""
        with self._writing:
            pass
        self.flush()
        with self._writing:
            pass

    # -- in ---------------------------------------------------------------------------------

    def read(self) -> None:
        """Handle what has come; returns at once when nothing has, or another thread reads."""
        if self._reading.acquire(blocking=False):
            try:
                self._receive(socket.MSG_DONTWAIT)
            finally:
                self._reading.release()

    def wait(self, wanted: Callable[[], bool]) -> None:
        """Wait for something to come, and handle it; unless `wanted` says that it has come."""
        with self._reading:
            if not wanted():
                self._receive(0)

    def _receive(self, flags: int) -> None:
        if self._is_copy:
            os._exit(ORPHANED_STATUS)  # a job has forked, and its copy came back from it
        try:
            data = self._sock.recv(_READ_BYTES, flags)
        except BlockingIOError:
            return
        except OSError as error:
            _end_cut_off(error)
        if not data:
            end_orphaned()
        for body in self._decoder.feed(data):
            for message in unpack(body):
                self._handle(message)
