"""A client's link that goes the blocking shell's way, as a coroutine: it reads only while a call
waits, connects only in a call, and knows of a break only when it looks."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from tenure.core import link
from tenure.core.call import Call
from tenure.core.command import Command, read_result
from tenure.errors import BrokerError, ClientClosed, ProtocolViolation
from tenure.info import ServerInfo
from tenure.settings import Settings
from tests.sim.loop import SimLoop

R = TypeVar("R")


class _Socket(asyncio.Protocol):
    """What the kernel keeps until somebody reads."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.ended: Exception | None = None
        self.stirred = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Kept."""
        self.data += data
        self.stirred.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Noticed at the next look."""
        self.ended = exc or ConnectionResetError("closed by the broker")
        self.stirred.set()


class BlockingWay:
    """As `SyncLink`, with the real session and dialer. For one task at a time."""

    def __init__(self, settings: Settings, loop: SimLoop) -> None:
        self._settings = settings
        self._loop = loop
        self._session = settings.new_session()
        self._dialer = settings.new_dialer()
        self._socket: _Socket | None = None
        self._transport: Any = None
        self._closed = False

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        return self._session.server

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping."""
        return self._session.draining

    async def call(self, command: Command[R]) -> R:
        """Send a command and wait for its result."""
        return await self.wait(self.submit(command), command)

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; `wait` fetches the result."""
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._socket is not None and not self._session.waiting:
            self._receive()
        # The joiner of single enqueues asks for a waiter that it can watch.
        call = self._session.submit(command, self._loop.now_ms, self._loop.create_future())
        self._flush()
        if command.op == "enqueue":
            call.waiter.add_done_callback(lambda _: None)
            self._loop.create_task(self._lead(call))
        return call

    async def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command. Raises what went wrong with it."""
        try:
            await self._lead(call)
        except asyncio.CancelledError:
            self.abandon(call)
            raise
        if call.error is not None:
            raise call.error
        return read_result(command, call.result)

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        self._session.abandon(call, self._loop.now_ms)

    async def close(self) -> None:
        """Close. Calls in flight end with `ClientClosed`."""
        self._closed = True
        self._session.fail_all(ClientClosed("the client was closed while this call waited"))
        self._settle()
        self._drop()

    # ---- leading -----------------------------------------------------------------------------

    async def _lead(self, call: Call) -> None:
        while not call.done and not self._closed:
            if self._socket is None:
                await self._connect()
            else:
                self._flush()
                await self._pause(self._session.alarm_ms - self._loop.now_ms)
                self._receive()
            self._tick()
            self._settle()

    def _settle(self) -> None:
        for call in self._session.take_done():
            if call.waiter is not None and not call.waiter.done():
                call.waiter.set_result(None)

    async def _pause(self, ms: int) -> None:
        socket = self._socket
        if socket is None or socket.stirred.is_set():
            return
        try:
            await asyncio.wait_for(socket.stirred.wait(), min(max(ms, 0), 3_600_000) / 1000)
        except TimeoutError:
            return

    def _tick(self) -> None:
        session, now_ms = self._session, self._loop.now_ms
        session.tick(now_ms)
        if session.dead is not None and self._socket is not None:
            self._break(ConnectionAbortedError(session.dead))
        self._flush()

    async def _connect(self) -> None:
        session, dialer = self._session, self._dialer
        now_ms = self._loop.now_ms
        if dialer.at_ms > now_ms:
            until_ms = min(dialer.at_ms, session.alarm_ms)
            await asyncio.sleep(max(0, until_ms - now_ms) / 1000)
            return
        link.opening(session, dialer, now_ms)
        timeout_ms = min(self._settings.connect_timeout_ms, max(1, session.alarm_ms - now_ms))
        host, port = dialer.address
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                made = await self._loop.create_connection(_Socket, host, port)
        except (OSError, TimeoutError) as error:
            link.no_connection(session, dialer, error, self._loop.now_ms)
            return
        if self._socket is not None or self._closed:
            made[0].abort()
            return
        self._transport, self._socket = made
        session.begin(str(dialer.address), self._loop.now_ms, self._settings.connect_timeout_ms)

    def _receive(self) -> None:
        socket = self._socket
        if socket is None:
            return
        socket.stirred.clear()
        data, socket.data = bytes(socket.data), bytearray()
        if data:
            try:
                link.received(self._session, self._dialer, data, self._loop.now_ms)
            except (ProtocolViolation, BrokerError) as error:
                self._break(error)
                return
        if socket.ended is not None:
            self._break(socket.ended)

    def _flush(self) -> None:
        if self._socket is not None:
            data = self._session.take_out()
            if data:
                self._transport.write(data)

    def _break(self, error: Exception) -> None:
        self._drop()
        link.broken(self._session, self._dialer, error, self._loop.now_ms)

    def _drop(self) -> None:
        if self._socket is not None:
            self._transport.abort()
            self._socket = None
