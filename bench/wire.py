"""A blocking connection that speaks the protocol and nothing more.

It does the bench's own errands (create a queue, look at counts), and loads the broker with
hardly any work on the client's side, so that the broker's own limit can be seen.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgpack

from tenure_protocol.frames import HEADER_BYTES, encode_frame

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 60.0


class RefusedError(Exception):
    """The broker answered a request with an error; the message has its code and text."""


class Wire:
    """One open connection. Not thread-safe."""

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_connection((host, port), TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = bytearray()
        self._next_id = 1
        self.call("hello", {"protocol": [1, 1], "client": "bench"})

    def close(self) -> None:
        """Closes the connection; leases stay until they run out."""
        self._socket.close()

    def send(self, frames: bytes) -> None:
        """Frames that are ready, as they are."""
        self._socket.sendall(frames)

    def frame(self, op: str, args: object) -> tuple[int, bytes]:
        """A request with the next request id: that id, and the frame."""
        request_id, self._next_id = self._next_id, self._next_id + 1
        return request_id, encode_frame([request_id, op, args])

    def reply(self) -> tuple[int, Any]:
        """The next reply, whichever request it answers: the request's id, and the result.

        Raises `RefusedError` when it is an error, and `ConnectionError` when the broker hung up.
        """
        while True:
            request_id, status, body = self._message()
            if status == 1:
                raise RefusedError(f"{body[0]}: {body[1]}")
            if request_id:
                return request_id, body

    def call(self, op: str, args: object) -> Any:
        """One request and its reply."""
        self.send(self.frame(op, args)[1])
        return self.reply()[1]

    def _message(self) -> list[Any]:
        buffer = self._buffer
        self._fill(HEADER_BYTES)
        end = HEADER_BYTES + int.from_bytes(buffer[:HEADER_BYTES], "big")
        self._fill(end)
        message: list[Any] = msgpack.unpackb(bytes(buffer[HEADER_BYTES:end]))
        del buffer[:end]
        return message

    def _fill(self, size: int) -> None:
        while len(self._buffer) < size:
            chunk = self._socket.recv(CHUNK_BYTES)
            if not chunk:
                raise ConnectionError("the broker closed the connection")
            self._buffer += chunk


@contextmanager
def wire_to(host: str, port: int) -> Iterator[Wire]:
    """A `Wire` that is closed at the end of the block."""
    wire = Wire(host, port)
    try:
        yield wire
    finally:
        wire.close()
