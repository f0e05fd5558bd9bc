"""One client's way to the broker of this process: the real frames, without a socket.

The client's session makes bytes, the broker's connection takes them, and the answers go back
the same way. A break cuts both ends, and the session repeats what is safe to repeat.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tenure.core.call import Call
from tenure.core.command import Command
from tenure.core.reconnect import cannot_connect
from tenure.errors import BrokerError, ClientClosed, ProtocolViolation
from tenure.info import ServerInfo
from tenure.settings import Settings

if TYPE_CHECKING:
    from tenure.testing.inprocess import InProcessBroker
    from tenure.testing.pipe import Pipe


class Carrier:
    """A session and its connection. What the blocking and the asyncio link share."""

    def __init__(self, broker: InProcessBroker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._pipe: Pipe | None = None
        self.session = settings.new_session()
        self.closed = False
        self.lose_reply_to: str | None = None
        """The connection breaks after the next request of this operation was carried out."""

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        return self.session.server

    # ---- for the links -----------------------------------------------------------------

    def submit(self, command: Command[Any], waiter: object = None) -> Call:
        """Take a command to the broker. What it can answer at once is answered."""
        broker = self._broker
        with broker.lock:
            self._check_open()
            lossy = command.op == self.lose_reply_to
            if lossy and self._pipe is None:
                self._connect()
                broker.settle()
            call = self.session.submit(command, broker.mono_ms, waiter)
            if lossy:
                self.lose_reply_to = None
                self._carried_out_but_not_answered()
            broker.settle()
            return call

    def abandon(self, call: Call) -> None:
        """Nobody waits for `call` any more."""
        with self._broker.lock:
            if not self.closed:
                self.session.abandon(call, self._broker.mono_ms)
                self._broker.settle()

    def close(self) -> None:
        """Close the connection. Calls in flight end with `ClientClosed`; leases stay."""
        with self._broker.lock:
            if self.closed:
                return
            self.closed = True
            self.session.fail_all(ClientClosed("the client was closed while this call waited"))
            self._wake_waiters()
            if self._pipe is not None:
                self._pipe.cut()
                self._pipe = None
            self._broker.carriers.pop(self, None)
            self._broker.settle()

    def _check_open(self) -> None:
        if self.closed:
            raise ClientClosed("the client is closed")

    # ---- for the broker; its lock is held ----------------------------------------------

    def exchange(self) -> bool:
        """Carry what either end has for the other; whether there was anything."""
        session = self.session
        if self._pipe is None:
            if self.closed or not session.waiting:
                return False
            self._connect()
        pipe = self._pipe
        assert pipe is not None
        out = session.take_out()
        if out:
            pipe.send(out)
        received, pipe.to_client = pipe.to_client, []
        for data in received:
            self._receive(data)
        if pipe.ended and not pipe.to_client and self._pipe is pipe:
            self.cut(ConnectionResetError("closed by the broker"))
        return bool(out or received)

    def cut(self, error: Exception) -> None:
        """The connection breaks."""
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.cut()
            self.session.lost(error, self._broker.mono_ms)
            self._wake_waiters()

    @property
    def alarm_ms(self) -> int | None:
        """When somebody who waits is to be told that it takes too long; None if nobody waits."""
        return self.session.alarm_ms if self.session.waiting else None

    def tick(self) -> None:
        """Time has passed."""
        if self.session.waiting:
            self.session.tick(self._broker.mono_ms)
            self._wake_waiters()

    def _connect(self) -> None:
        self._pipe = self._broker.open_pipe()
        self.session.begin("this process", self._broker.mono_ms, self._settings.connect_timeout_ms)

    def _receive(self, data: bytes) -> None:
        try:
            self.session.receive(data, self._broker.mono_ms)
        except (ProtocolViolation, BrokerError) as error:
            self.cut(error)
            self.session.fail_all(cannot_connect("this process", error))
        self._wake_waiters()

    def _carried_out_but_not_answered(self) -> None:
        assert self._pipe is not None
        self._pipe.send(self.session.take_out())
        self._broker.loop.run()
        self.cut(ConnectionResetError("the test cut the connection"))

    def _wake_waiters(self) -> None:
        for call in self.session.take_done():
            if isinstance(call.waiter, asyncio.Future):
                _wake(call.waiter)
            if call.error is None:
                self._broker.answered.append(call)


def _wake(waiter: asyncio.Future[None]) -> None:
    loop = waiter.get_loop()
    if loop is asyncio._get_running_loop():
        _finish(waiter)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(_finish, waiter)


def _finish(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
