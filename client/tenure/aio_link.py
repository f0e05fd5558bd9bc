"""The asyncio shell around the session: one connection on one event loop.

Frames written within one turn of the loop leave in one write. One timer serves all deadlines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar, cast

from tenure.core import link
from tenure.core.call import Call
from tenure.core.command import Command, read_result
from tenure.errors import BrokerError, ClientClosed, ProtocolViolation
from tenure.forks import begin_anew_after_fork
from tenure.info import ServerInfo
from tenure.settings import Settings, mono_ms

R = TypeVar("R")

_ALARM_MS_MAX = 3_600_000

_FRAMES_JOINED_MAX = 64
"""So many requests of one turn are written at once. A turn that makes hundreds would else leave
the broker idle until its end, and then the client while the broker works."""


class AsyncLink:
    """Carries commands to the broker and results back, for many tasks of one loop.

    Whoever sets `on_notice` is called with the kind and the details of every notice;
    whoever sets `on_connection`, with True when a connection opened (requests that waited
    for it have not been written yet) and with False when it is gone. Neither may raise.
    """

    def __init__(self, settings: Settings) -> None:
        self.on_notice: Callable[[str, dict[str, Any]], None] | None = None
        self.on_connection: Callable[[bool], None] | None = None
        self._settings = settings
        self._closed = False
        self._start()
        begin_anew_after_fork(self)

    def _start(self) -> None:
        self._session = self._settings.new_session()
        self._session.on_notice = self._notice
        self._dialer = self._settings.new_dialer()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wire: _Wire | None = None
        self._dialing: asyncio.Task[None] | None = None
        self._flushing = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ms = 0

    def forked(self) -> None:
        """In a child of a fork: begin anew. The parent keeps its loop and the connection."""
        if not self._closed:
            self._start()

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
        loop = self._bound_loop()
        call = self._session.submit(command, mono_ms(), loop.create_future())
        if self._session.frames_out >= _FRAMES_JOINED_MAX:
            self._after(mono_ms())
        else:
            self._soon()
        return call

    async def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command that was submitted. Raises what went wrong with it."""
        future: asyncio.Future[None] | None = call.waiter
        if not call.done and future is not None:
            try:
                await future
            except asyncio.CancelledError:
                self.abandon(call)
                raise
        if call.error is not None:
            raise call.error
        return read_result(command, call.result)

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        self._session.abandon(call, mono_ms())
        self._soon()

    async def close(self) -> None:
        """Close the connection. Calls in flight end with `ClientClosed`. Leases stay."""
        if self._closed:
            return
        self._closed = True
        self._session.fail_all(ClientClosed("the client was closed while this call waited"))
        self._settle()
        if self._alarm is not None:
            self._alarm.cancel()
        dialing = self._dialing
        if dialing is not None:
            dialing.cancel()
            await asyncio.gather(dialing, return_exceptions=True)
        wire, self._wire = self._wire, None
        if wire is not None:
            await wire.close()

    def _bound_loop(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        elif self._loop is not loop:
            raise RuntimeError(
                "an AsyncClient belongs to one event loop; make another for this one"
            )
        return loop

    def _notice(self, kind: str, details: dict[str, Any]) -> None:
        if self.on_notice is not None:
            self.on_notice(kind, details)

    # -- one turn of the loop -------------------------------------------------------------

    def _soon(self) -> None:
        if not self._flushing and self._loop is not None:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        self._after(mono_ms())

    def _after(self, now_ms: int) -> None:
        """What follows any change: write, wake who is done, set the timer, connect if needed."""
        session, wire = self._session, self._wire
        if self._closed:
            return
        if wire is not None and wire.writable:
            data = session.take_out()
            if data:
                wire.write(data)
        self._settle()
        if session.alarm_ms != self._alarm_ms or self._alarm is None:
            self._set_alarm(session.alarm_ms, now_ms)
        if wire is None and self._dialing is None and session.waiting:
            assert self._loop is not None
            self._dialing = self._loop.create_task(self._dial())

    def _settle(self) -> None:
        for call in self._session.take_done():
            if call.waiter is not None and not call.waiter.done():
                call.waiter.set_result(None)

    def _set_alarm(self, alarm_ms: int, now_ms: int) -> None:
        # A timer that rings too early costs one look; one that is moved with every request
        # costs each of them a cancelled timer. So it is only ever moved forward.
        if self._alarm is not None:
            if self._alarm_ms <= alarm_ms:
                return
            self._alarm.cancel()
        assert self._loop is not None
        self._alarm_ms = alarm_ms
        pause_s = min(max(0, alarm_ms - now_ms), _ALARM_MS_MAX) / 1000
        self._alarm = self._loop.call_later(pause_s, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        now_ms = mono_ms()
        self._session.tick(now_ms)
        if self._session.dead is not None and self._wire is not None:
            self._break(ConnectionAbortedError(self._session.dead), now_ms)
        self._after(now_ms)

    # -- the connection -------------------------------------------------------------------

    async def _dial(self) -> None:
        try:
            while self._wire is None and self._session.waiting and not self._closed:
                pause_ms = self._dialer.at_ms - mono_ms()
                if pause_ms > 0:
                    await asyncio.sleep(pause_ms / 1000)
                else:
                    await self._connect()
        finally:
            self._dialing = None
        self._after(mono_ms())

    async def _connect(self) -> None:
        assert self._loop is not None
        link.opening(self._session, self._dialer, mono_ms())
        host, port = self._dialer.address
        connecting = self._loop.create_connection(lambda: _Wire(self), host, port)
        timeout_s = self._settings.connect_timeout_ms / 1000
        try:
            await asyncio.wait_for(connecting, timeout_s)
        except (OSError, UnicodeError, TimeoutError) as error:
            link.no_connection(self._session, self._dialer, error, mono_ms())
            self._settle()

    def connected(self, wire: _Wire) -> None:
        """The socket is there. At once, for a broker that is full speaks first."""
        if self._closed:
            wire.abort()
            return
        now_ms = mono_ms()
        self._wire = wire
        address = str(self._dialer.address)
        self._session.begin(address, now_ms, self._settings.connect_timeout_ms)
        self._after(now_ms)

    def received(self, wire: _Wire, data: bytes) -> None:
        """Bytes came in."""
        if wire is not self._wire:
            return
        now_ms = mono_ms()
        was_open = self._session.state == "open"
        try:
            link.received(self._session, self._dialer, data, now_ms)
        except (ProtocolViolation, BrokerError) as error:
            self._break(error, now_ms)
        else:
            if not was_open and self._session.state == "open" and self.on_connection is not None:
                self.on_connection(True)
        self._after(now_ms)

    def resumed(self) -> None:
        """The socket takes bytes again."""
        self._after(mono_ms())

    def ended(self, wire: _Wire, error: Exception) -> None:
        """The connection ended by itself."""
        if wire is self._wire:
            now_ms = mono_ms()
            self._break(error, now_ms)
            self._after(now_ms)

    def _break(self, error: Exception, now_ms: int) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.abort()
        was_open = self._session.state == "open"
        link.broken(self._session, self._dialer, error, now_ms)
        if was_open and self.on_connection is not None:
            self.on_connection(False)


class _Wire(asyncio.Protocol):
    """The socket's side: hands bytes up, knows whether the socket takes more."""

    def __init__(self, owner: AsyncLink) -> None:
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.writable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop sets TCP_NODELAY by itself."""
        # Not checked with isinstance: uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self.writable = True
        self._owner.connected(self)

    def data_received(self, data: bytes) -> None:
        """Bytes of any number of frames."""
        self._owner.received(self, data)

    def pause_writing(self) -> None:
        """The broker reads slower than we write: requests wait in the session."""
        self.writable = False

    def resume_writing(self) -> None:
        """Go on writing."""
        self.writable = True
        self._owner.resumed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The end, for whatever reason."""
        self.writable = False
        if not self._gone.done():
            self._gone.set_result(None)
        self._owner.ended(self, exc or ConnectionResetError("closed by the broker"))

    def write(self, data: bytes) -> None:
        """Write, or let the transport keep it until the socket takes it."""
        assert self._transport is not None
        self._transport.write(data)

    def abort(self) -> None:
        """Close at once."""
        self.writable = False
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close at once, and wait until the socket is gone."""
        self.abort()
        await self._gone
