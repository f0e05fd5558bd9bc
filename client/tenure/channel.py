"""A connection that does not block, and the poll of the one thread that waits for it.

    write ─► socket, or `unwritten` ─► socket, once the poll says that it takes more
    wake  ─► the poll ends

The lock of whoever uses it is held in every method but `pause`; an exception may come up in the
middle of each of them (`sync_link`), after which `drop` works all the same.
"""

from __future__ import annotations

import select
import socket
from contextlib import suppress

_RECEIVE_BYTES = 64 * 1024
_RECEIVE_BYTES_MAX = 1024 * 1024
_NOTHING = memoryview(b"")

Events = list[tuple[int, int]]
"""What a poll found: descriptors, and what is the matter with them."""


class Channel:
    """At most one connection at a time, for one client."""

    def __init__(self) -> None:
        self.connection: socket.socket | None = None
        self.unwritten = _NOTHING
        """What the socket did not take yet; nothing else is written before it."""
        self._poll = select.poll()
        self._waits_to_write = False
        self._receive_bytes = _RECEIVE_BYTES
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._wake_fd = self._wake_in.fileno()
        self._poll.register(self._wake_fd, select.POLLIN)

    def adopt(self, made: socket.socket) -> None:
        """Use a connection from now on. There must be none."""
        self.connection = made
        self._poll.register(made, select.POLLIN)

    def drop(self) -> None:
        """Close the connection, if there is one; what is unwritten is forgotten."""
        if self.connection is None:
            return
        # An interrupt may have come in the middle of this, or before it was registered.
        with suppress(KeyError, ValueError):
            self._poll.unregister(self.connection)
        self.connection.close()
        self.connection = None
        self.unwritten = _NOTHING
        self._waits_to_write = False

    def close(self) -> None:
        """Close everything. Nobody may be in `pause`."""
        self.drop()
        self._wake_in.close()
        self._wake_out.close()

    def pause(self, milliseconds: int) -> Events:
        """Wait for the connection, for `wake` or for the time; without the lock, one at a time."""
        return self._poll.poll(min(max(0, milliseconds), 2**31 - 1))

    def wake(self) -> None:
        """End the pause that is going on, or the next one."""
        # Full: it will end anyway. Closed: nobody is in it.
        with suppress(OSError):
            self._wake_out.send(b"\0")

    def is_ready(self, events: Events) -> bool:
        """Whether a pause ended because of the connection."""
        ready = [descriptor for descriptor, _ in events if descriptor != self._wake_fd]
        if len(ready) < len(events):
            with suppress(OSError):
                self._wake_in.recv(4096)
        return bool(ready) and self.connection is not None

    def receive(self) -> bytes:
        """What has come, empty if there is nothing. Raises `OSError` if the connection is over."""
        assert self.connection is not None
        try:
            data = self.connection.recv(self._receive_bytes)
        except (BlockingIOError, InterruptedError):
            return b""
        if not data:
            raise ConnectionResetError("closed by the broker")
        full = len(data) == self._receive_bytes
        self._receive_bytes = _RECEIVE_BYTES_MAX if full else _RECEIVE_BYTES
        return data

    def write(self, data: bytes) -> None:
        """Write `data`, or what is unwritten, as far as the socket takes it. Raises `OSError`."""
        assert self.connection is not None
        assert not data or not self.unwritten
        try:
            if data:
                sent = self.connection.send(data)
                if sent == len(data):
                    return
                self.unwritten = memoryview(data)[sent:]
            while self.unwritten:
                self.unwritten = self.unwritten[self.connection.send(self.unwritten) :]
        except (BlockingIOError, InterruptedError):
            # A socket that is full takes nothing at all.
            self.unwritten = self.unwritten or memoryview(data)
        self._watch(bool(self.unwritten))

    def _watch(self, writable: bool) -> None:
        if writable != self._waits_to_write and self.connection is not None:
            events = select.POLLIN | (select.POLLOUT if writable else 0)
            self._poll.modify(self.connection, events)
            self._waits_to_write = writable
