"""The blocking shell around the session: one connection, any number of threads.

Whoever waits for a reply reads for everybody. The first thread that waits becomes the
*leader*: it connects, reads and writes until its own reply is there, wakes the threads whose
replies it met on the way, and hands the lead to one that still waits. So a thread that is alone
pays for one send, one poll and one receive, and no switch of threads.

A thread of its own keeps an idle connection alive; it leads only for the length of a ping.

An exception may come up in a thread at any moment: Ctrl-C, a signal's handler, the limit of a
task. So nobody waits while he holds the lock, which only `with` takes, and whoever changes
something marks it `_torn` meanwhile. If that ends half done, the next thread puts it in order and
gives the connection up, as if it had broken (`_mend`).
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterable
from typing import Any, TypeVar

from tenure.address import Address
from tenure.channel import Channel
from tenure.core import link
from tenure.core.call import Call
from tenure.core.command import Command, read_result
from tenure.errors import BrokerError, ClientClosed, ProtocolViolation
from tenure.forks import begin_anew_after_fork
from tenure.info import ServerInfo
from tenure.keeper import Keeper
from tenure.settings import Settings, mono_ms

R = TypeVar("R")

_KEEPER_PAUSE_S_MIN = 0.05
_KEEPER = object()
"""Leads for nobody's reply."""

_Target = tuple[Address, float]
"""Where to connect to, and how long that may take (s)."""


class SyncLink:
    """Carries commands to the broker and results back, for many threads at once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closed = False
        self._start()
        begin_anew_after_fork(self)

    def _start(self) -> None:
        self._session = self._settings.new_session()
        self._dialer = self._settings.new_dialer()
        self._lock = threading.Lock()
        self._torn = False
        """Whether a thread is changing something, or did not come to the end of that."""
        self._leader: object | None = None
        """The call whose thread leads."""
        self._alarm_ms = 0
        self._followers: dict[Call, threading.Lock] = {}
        self._channel = Channel()
        self._keeper: Keeper | None = None

    # -- for the client -------------------------------------------------------------

    @property
    def server(self) -> ServerInfo | None:
        """The broker of the last connection."""
        return self._session.server

    @property
    def draining(self) -> bool:
        """Whether the broker said that it is stopping."""
        return self._session.draining

    def call(self, command: Command[R]) -> R:
        """Send a command and wait for its result."""
        return self.wait(self.submit(command), command)

    def submit(self, command: Command[Any]) -> Call:
        """Send a command; `wait` fetches the result."""
        with self._lock:
            now_ms = self._before_send()
            call = self._session.submit(command, now_ms)
            self._send_out(now_ms)
            self._torn = False
        return call

    def submit_all(self, commands: Iterable[Command[Any]]) -> list[Call]:
        """Send commands in one write, so that the broker does them in one turn; `wait` for each."""
        with self._lock:
            now_ms = self._before_send()
            calls = [self._session.submit(command, now_ms) for command in commands]
            self._send_out(now_ms)
            self._torn = False
        return calls

    def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command that was submitted. Raises what went wrong with it."""
        try:
            while not call.done:
                waiter = self._turn(call)
                if waiter is not None:
                    # The leader times this call out; without one, whoever led last wakes us.
                    waiter.acquire()
            if self._leader is call:
                # Another thread ended the call, or a try to connect did.
                self._leave_lead(call)
        except BaseException:
            # Interrupted (by Ctrl-C, say): nobody waits for this reply any more.
            self.abandon(call)
            raise
        if call.error is not None:
            raise call.error
        return read_result(command, call.result)

    def _leave_lead(self, call: Call) -> None:
        with self._lock:
            self._begin()
            self._step_down(call)
            self._torn = False

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        with self._lock:
            self._begin()
            now_ms = mono_ms()
            self._session.abandon(call, now_ms)
            self._followers.pop(call, None)
            # What gives back jobs that were there already leaves now, not with the next call.
            self._send_out(now_ms)
            self._step_down(call)
            self._torn = False

    def close(self) -> None:
        """Close the connection. Calls in flight end with `ClientClosed`. Leases stay."""
        with self._lock:
            if self._closed:
                return
            self._begin()
            self._session.fail_all(ClientClosed("the client was closed while this call waited"))
            self._settle()
            self._channel.drop()
            self._closed = True
            if self._keeper is not None:
                self._keeper.wake()
            if self._leader is not None:
                self._channel.wake()
            self._step_down(None)
            self._torn = False

    # -- one turn; from here on the lock is held, but for _turn, _dial and keep_alive --------

    def _turn(self, call: Call) -> threading.Lock | None:
        """Lead for `call`: connect, or wait for the socket once, and see what time has brought.

        If another thread leads: the lock that it will release.
        """
        with self._lock:
            self._begin()
            if self._leader is None and not call.done:
                self._leader = call
            if self._leader is not call or call.done:
                waiter = self._follow(call)
                self._torn = False
                return waiter
            target, pause_ms = self._next_step()
            self._torn = False
        if target is not None:
            self._dial(target)
            return None
        events = self._channel.pause(pause_ms)
        with self._lock:
            self._begin()
            if events and self._channel.is_ready(events):
                self._receive()
            self._tick()
            self._settle()
            if call.done:
                self._step_down(call)
            self._torn = False
        return None

    def _begin(self) -> None:
        """Before any change. At its end `_torn` is False again."""
        if self._torn:
            self._mend()
        self._torn = True

    def _mend(self) -> None:
        # Where the other thread was is unknown: half of a reply may be read, half of a frame sent.
        self._channel.drop()
        error = ConnectionAbortedError("a thread was interrupted in the middle of its use")
        link.torn(self._session, self._dialer, error, mono_ms())
        # Who was to be woken is unknown, too; who wakes for nothing waits again.
        for call in list(self._followers):
            self._free(call)
        if self._leader is not None:
            self._channel.wake()

    def _follow(self, call: Call) -> threading.Lock | None:
        if call.done:
            self._step_down(call)
            return None
        waiter = self._followers[call] = threading.Lock()
        waiter.acquire()
        return waiter

    def _step_down(self, leader: object) -> None:
        if self._leader is leader:
            self._leader = None
        if self._leader is not None:
            return
        if self._followers:
            self._free(next(iter(self._followers)))
        if self._closed:
            self._channel.close()

    def _settle(self) -> None:
        for call in self._session.take_done():
            if call in self._followers:
                self._free(call)

    def _free(self, call: Call) -> None:
        waiter = self._followers[call]
        # Freed already, if an interrupt came before the next line.
        if waiter.locked():
            waiter.release()
        del self._followers[call]

    def _before_send(self) -> int:
        if self._closed:
            raise ClientClosed("the client is closed")
        self._begin()
        if (
            self._channel.connection is not None
            and self._leader is None
            and not self._session.waiting
        ):
            # Was the idle connection closed meanwhile? Better to know before the send.
            self._receive()
        return mono_ms()

    def _send_out(self, now_ms: int) -> None:
        self._flush(now_ms)
        self._settle()
        if self._leader is not None and self._leader_must_look():
            self._channel.wake()

    def _leader_must_look(self) -> bool:
        # What its poll does not know of: more to write, a sooner deadline, a broken socket.
        sooner = self._session.alarm_ms < self._alarm_ms
        return bool(self._channel.unwritten) or sooner or self._channel.connection is None

    def _tick(self) -> None:
        now_ms = mono_ms()
        session = self._session
        session.tick(now_ms)
        if session.dead is not None and self._channel.connection is not None:
            self._break(ConnectionAbortedError(session.dead), now_ms)
        if self._channel.unwritten or session.frames_out:
            self._flush(now_ms)

    def _next_step(self) -> tuple[_Target | None, int]:
        """Where to connect to; or None, and how long to wait."""
        if self._channel.connection is None:
            return self._next_dial()
        return None, self._pause_ms()

    def _pause_ms(self) -> int:
        """How long the leader may wait for the socket."""
        now_ms = mono_ms()
        if self._channel.unwritten or self._session.frames_out:
            self._flush(now_ms)
        self._alarm_ms = self._session.alarm_ms
        return self._alarm_ms - now_ms

    # -- the socket -------------------------------------------------------------------

    def _next_dial(self) -> tuple[_Target | None, int]:
        """Where to connect to now; or None, and how long to wait before that."""
        session, dialer, now_ms = self._session, self._dialer, mono_ms()
        self._alarm_ms = session.alarm_ms
        if dialer.at_ms > now_ms:
            return None, min(dialer.at_ms, self._alarm_ms) - now_ms
        link.opening(session, dialer, now_ms)
        timeout_ms = min(self._settings.connect_timeout_ms, max(1, self._alarm_ms - now_ms))
        return (dialer.address, timeout_ms / 1000), 0

    def _dial(self, target: _Target) -> None:
        made: socket.socket | None = None
        trouble: Exception | None = None
        try:
            made = socket.create_connection(*target)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
        except (OSError, UnicodeError) as error:
            trouble = error
        with self._lock:
            self._begin()
            if self._closed:
                if made is not None:
                    made.close()
            elif made is not None:
                self._adopt(made, str(target[0]))
            elif trouble is not None:
                link.no_connection(self._session, self._dialer, trouble, mono_ms())
            self._tick()
            self._settle()
            self._torn = False

    def _adopt(self, made: socket.socket, address: str) -> None:
        self._channel.adopt(made)
        self._session.begin(address, mono_ms(), self._settings.connect_timeout_ms)
        if self._keeper is None:
            self._keeper = Keeper(self)
        else:
            self._keeper.wake()

    def _receive(self) -> None:
        try:
            data = self._channel.receive()
            if data:
                link.received(self._session, self._dialer, data, mono_ms())
        except (OSError, ProtocolViolation, BrokerError) as error:
            self._break(error, mono_ms())

    def _flush(self, now_ms: int) -> None:
        """Write what the socket takes now; the leader waits for the rest."""
        channel = self._channel
        if channel.connection is None:
            return
        data = b"" if channel.unwritten else self._session.take_out()
        if not data and not channel.unwritten:
            return
        try:
            channel.write(data)
        except OSError as error:
            self._break(error, now_ms)

    def _break(self, error: Exception, now_ms: int) -> None:
        self._channel.drop()
        link.broken(self._session, self._dialer, error, now_ms)

    # -- keep-alive ---------------------------------------------------------------------

    def keep_alive(self) -> float | None:
        """Ping if it is time and nobody leads. The seconds until the next look; None: for ever.

        Raises `ClientClosed` when there is nothing more to do.
        """
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed")
            self._begin()
            leads = False
            if self._leader is None and self._channel.connection is not None:
                self._tick()
                self._settle()
                leads = self._session.pinging and self._channel.connection is not None
                self._leader = _KEEPER if leads else None
                self._step_down(None)
            pause_ms = self._pause_ms() if leads else 0
            self._torn = False
        events = self._channel.pause(pause_ms) if leads else []
        with self._lock:
            if leads:
                self._begin()
                if self._channel.is_ready(events):
                    self._receive()
                self._tick()
                self._settle()
                self._step_down(_KEEPER)
                self._torn = False
            if self._channel.connection is None:
                return None
            return max(_KEEPER_PAUSE_S_MIN, (self._session.alarm_ms - mono_ms()) / 1000)

    def forked(self) -> None:
        """In a child of a fork: begin anew. The parent keeps the connection."""
        if self._closed:
            return
        self._channel.close()
        self._start()
