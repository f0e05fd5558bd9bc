"""uvicorn's HTTP protocol with the bounds it lacks: connections, length of headers, time.

Without them a few idle or endless connections would eat the process's memory and file
descriptors, which the broker's own clients need.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CONNECTIONS_MAX = 64
"""HTTP connections open at once; more are closed unheard."""
HEADERS_BYTES_MAX = 16 * 1024
"""The longest request line and headers."""
LIFE_S = 60.0
"""A connection is not kept longer than this, but for a response at work."""


class BoundedHttp(HttpToolsProtocol):
    """One HTTP connection."""

    _head_bytes = 0
    _end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accepted, unless there are enough."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS_MAX:
            transport.abort()
        else:
            self._end = self.loop.call_later(LIFE_S, self._grow_old)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone."""
        if self._end is not None:
            self._end.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request."""
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEADERS_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The request is too long.")

    def on_headers_complete(self) -> None:
        """The headers of a request are whole."""
        self._head_bytes = 0
        super().on_headers_complete()

    def _grow_old(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._end = self.loop.call_later(1.0, self._grow_old)
        else:
            self.transport.close()
