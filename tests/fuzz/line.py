"""A connection without a socket that behaves like one: it fills up, it can be cut, it lingers."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from tenure.testing.virtual_time import VirtualLoop
from tenure_server.connection import Connection
from tenure_server.hub import Hub

CHUNK_BYTES_MAX = 64 * 1024
"""The most that one read of a socket gives."""


class Line:
    """What the broker's `Connection` takes for its socket, and the client's end of it."""

    def __init__(self, hub: Hub, loop: VirtualLoop) -> None:
        self._loop = loop
        self._unsent = bytearray()
        self._unread = bytearray()
        self._paused = False
        self._blocked = False
        self._high = self._low = 1 << 30
        self._lost = False
        self.eof = False
        """Whether the broker said that it writes no more."""
        self.gone = False
        """Whether the connection is cut, by either side."""
        self.connection = Connection(hub)
        self.connection.connection_made(cast(asyncio.Transport, self))

    # ---- the client's end --------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the broker does not read now."""
        return self._paused

    @property
    def held_back(self) -> bool:
        """Whether the client has said something that the broker has not read."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """The client writes."""
        if not self.gone:
            self._unsent += data
            self._deliver()

    def read(self) -> bytes:
        """The client reads everything that is there."""
        data = bytes(self._unread)
        self._unread.clear()
        if self._blocked and not self._lost:
            self._blocked = False
            self.connection.resume_writing()
        return data

    def hang_up(self) -> None:
        """The client is gone."""
        self.gone = True
        self._unsent.clear()
        self._unread.clear()
        self._lose()

    def _deliver(self) -> None:
        while self._unsent and not self._paused and not self.gone:
            chunk = bytes(self._unsent[:CHUNK_BYTES_MAX])
            del self._unsent[:CHUNK_BYTES_MAX]
            self.connection.data_received(chunk)

    def _lose(self) -> None:
        if not self._lost:
            self._lost = True
            self.connection.connection_lost(None)

    # ---- the broker's end: an asyncio transport ----------------------------------------

    def write(self, data: bytes) -> None:
        """The broker writes."""
        assert not self.eof, "the broker wrote after its last words"
        if self.gone:
            return
        self._unread += data
        if len(self._unread) > self._high and not self._blocked:
            self._blocked = True
            self.connection.pause_writing()

    def write_eof(self) -> None:
        """The broker has said its last words."""
        self.eof = True

    def abort(self) -> None:
        """The broker cuts the connection."""
        self.gone = True
        self._unread.clear()
        self._loop.call_soon(self._lose)

    def is_closing(self) -> bool:
        """Whether the connection is cut."""
        return self.gone

    def pause_reading(self) -> None:
        """The broker reads no more for now."""
        self._paused = True

    def resume_reading(self) -> None:
        """The broker reads on, from the next turn of its loop."""
        self._paused = False
        self._loop.call_soon(self._deliver)

    def set_write_buffer_limits(self, high: int, low: int) -> None:
        """When the broker wants to be told that the client does not read."""
        self._high, self._low = high, low

    def get_write_buffer_size(self) -> int:
        """What the client has not read."""
        return len(self._unread)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The peer's address, made up."""
        return ("fuzz", 0) if name == "peername" else default
