"""The two ends of a connection without a socket: a transport for the broker's connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from tenure_server.connection import Connection


class Pipe:
    """What the broker's `Connection` takes for its socket. Nothing is ever unread or half sent."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._unread: list[bytes] = []
        self._paused = False
        self._gone = False
        self.to_client: list[bytes] = []
        """What the broker wrote and the client has not read."""
        self.ended = False
        """Whether the broker closed its end."""
        connection.connection_made(cast(asyncio.Transport, self))

    # ---- the client's end --------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """The client writes."""
        if self._paused:
            self._unread.append(data)
        elif not self._gone:
            self._connection.data_received(data)

    def cut(self) -> None:
        """The connection is gone, for both ends; what was on its way is lost."""
        self.to_client.clear()
        if not self._gone:
            self._gone = self.ended = True
            self._connection.connection_lost(None)

    # ---- the broker's end: an asyncio transport ----------------------------------------

    def write(self, data: bytes) -> None:
        """The broker writes."""
        self.to_client.append(data)

    def write_eof(self) -> None:
        """The broker has said its last words."""
        self.ended = True

    def abort(self) -> None:
        """The broker cuts the connection."""
        self.to_client.clear()
        self.ended = True

    def is_closing(self) -> bool:
        """Whether the connection is gone."""
        return self._gone

    def pause_reading(self) -> None:
        """What the client writes is kept back."""
        self._paused = True

    def resume_reading(self) -> None:
        """The broker takes what was kept back, and what comes."""
        self._paused = False
        while self._unread and not self._paused:
            self.send(self._unread.pop(0))

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered, so nothing is limited."""

    def get_write_buffer_size(self) -> int:
        """Everything written has arrived."""
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """The peer's address, made up."""
        return ("in-process", 0) if name == "peername" else default
