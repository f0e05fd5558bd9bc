"""A connection for floods: raw frames, and as little else as possible, for there are thousands."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any, cast

import msgpack

from tenure_protocol.wire import pack

PATIENCE_S = 60.0
"""How long something that must happen is waited for, on a machine that has much else to do."""

HELLO = {"protocol": [1, 1], "client": "flood"}


class Line(asyncio.Protocol):
    """One connection. Replies wait in `replies` by their ids; what else comes, in `told`."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._waiters: dict[int, asyncio.Future[Any]] = {}
        self._last_id = 0
        self.replies: dict[int, Any] = {}
        self.told: deque[Any] = deque()
        self.fatal: list[Any] | None = None
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is there."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Frames, or parts of them."""
        received = self._received
        received += data
        at = 0
        while len(received) - at >= 4:
            end = at + 4 + int.from_bytes(received[at : at + 4], "big")
            if len(received) < end:
                break
            self._take(msgpack.unpackb(received[at + 4 : end]))
            at = end
        del received[:at]

    def _take(self, message: Any) -> None:
        request_id, status, content = message
        if request_id == 0:
            if status == 1:
                self.fatal = content
            else:
                self.told.append(content)
            return
        waiter = self._waiters.pop(request_id, None)
        if waiter is None:
            self.replies[request_id] = (status, content)
        elif not waiter.done():
            waiter.set_result((status, content))

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if not self.closed.done():
            self.closed.set_result(None)
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("the broker closed the connection"))

    # ---- saying ------------------------------------------------------------------------

    def frame(self, op: str, args: Any) -> tuple[int, bytes]:
        """A request that was not sent yet, and its id."""
        self._last_id += 1
        body = pack([self._last_id, op, args])
        return self._last_id, len(body).to_bytes(4, "big") + body

    def post(self, op: str, args: Any) -> int:
        """Sends a request; its id."""
        if self.closed.done():
            raise ConnectionResetError("the connection is closed")
        request_id, frame = self.frame(op, args)
        self.transport.write(frame)
        return request_id

    async def reply(self, request_id: int) -> tuple[int, Any]:
        """The reply to a request: its status and its content."""
        if request_id in self.replies:
            status, content = self.replies.pop(request_id)
            return status, content
        if self.closed.done():
            raise ConnectionResetError("the connection is closed")
        waiter = self._waiters[request_id] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(PATIENCE_S):
            answer: tuple[int, Any] = await waiter
        return answer

    async def ask(self, op: str, args: Any) -> tuple[int, Any]:
        """A request and its reply."""
        return await self.reply(self.post(op, args))

    async def do(self, op: str, args: Any) -> Any:
        """The result of a request that must succeed."""
        status, content = await self.ask(op, args)
        assert status == 0, content
        return content

    async def ended(self) -> list[Any] | None:
        """Waits until the broker has closed it; its last words."""
        async with asyncio.timeout(PATIENCE_S):
            await self.closed
        return self.fatal


async def connect(port: int) -> Line:
    """A connection that has said nothing."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(PATIENCE_S):
        _, line = await loop.create_connection(Line, "127.0.0.1", port)
    return line


async def hello(port: int) -> Line:
    """A connection that has said hello."""
    line = await connect(port)
    await line.do("hello", HELLO)
    return line


async def many(port: int, count: int, at_once: int = 200) -> list[Line]:
    """So many connections that have said hello, not more at a time than a listener's backlog."""
    lines: list[Line] = []
    for start in range(0, count, at_once):
        lines += await asyncio.gather(*(hello(port) for _ in range(min(at_once, count - start))))
    return lines


def close_all(lines: list[Line]) -> None:
    """Ends connections."""
    for line in lines:
        # The broker may have hung up before.
        if not line.transport.is_closing():
            line.transport.abort()
