"""The blocking shell around the session: one connection, any number of threads.

Whoever waits for a reply reads for everybody. The first thread that waits becomes the
*leader*: it connects, reads and writes until its own reply is there, wakes the threads whose
replies it met on the way, and hands the lead to one that still waits. So a thread that is alone
pays for one send, one poll and one receive, and no switch of threads.

A thread of its own keeps an idle connection alive; it leads only for the length of a ping.
"""

from __future__ import annotations

import select
import socket
import threading
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TypeVar

from tenure.core import link
from tenure.core.call import Call
from tenure.core.command import Command, read_result
from tenure.errors import BrokerError, ClientClosed, ProtocolViolation
from tenure.forks import begin_anew_after_fork
from tenure.info import ServerInfo
from tenure.settings import Settings, mono_ms

R = TypeVar("R")

_RECEIVE_BYTES = 64 * 1024
_RECEIVE_BYTES_MAX = 1024 * 1024
_KEEPER_PAUSE_S_MIN = 0.05
_KEEPER_PAUSE_S_MAX = 3_600.0


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
        self._leading = False
        self._alarm_ms = 0
        self._followers: dict[Call, threading.Lock] = {}
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._unwritten = memoryview(b"")
        self._wants_write = False
        self._receive_bytes = _RECEIVE_BYTES
        # A byte in this pair interrupts the leader's poll.
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._wake_fd = self._wake_in.fileno()
        self._poll.register(self._wake_fd, select.POLLIN)
        self._keeper: threading.Event | None = None

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
        return call

    def submit_all(self, commands: Iterable[Command[Any]]) -> list[Call]:
        """Send commands in one write, so that the broker does them in one turn; `wait` for each."""
        with self._lock:
            now_ms = self._before_send()
            calls = [self._session.submit(command, now_ms) for command in commands]
            self._send_out(now_ms)
        return calls

    def _before_send(self) -> int:
        if self._closed:
            raise ClientClosed("the client is closed")
        if self._socket is not None and not self._leading and not self._session.waiting:
            # Was the idle connection closed meanwhile? Better to know before the send.
            self._receive()
        return mono_ms()

    def _send_out(self, now_ms: int) -> None:
        self._flush(now_ms)
        self._settle()
        if self._leading and self._leader_must_look():
            self._wake()

    def _leader_must_look(self) -> bool:
        # What its poll does not know of: more to write, a sooner deadline, a broken socket.
        sooner = self._session.alarm_ms < self._alarm_ms
        return bool(self._unwritten) or sooner or self._socket is None

    def wait(self, call: Call, command: Command[R]) -> R:
        """The result of a command that was submitted. Raises what went wrong with it."""
        try:
            with self._lock:
                while not call.done:
                    if self._leading:
                        self._follow(call)
                    else:
                        self._lead(call)
        except BaseException:
            # Interrupted (by Ctrl-C, say): nobody waits for this reply any more.
            self.abandon(call)
            raise
        if call.error is not None:
            raise call.error
        return read_result(command, call.result)

    def abandon(self, call: Call) -> None:
        """Nobody will wait for `call`."""
        with self._lock:
            now_ms = mono_ms()
            self._session.abandon(call, now_ms)
            # What gives back jobs that were there already leaves now, not with the next call.
            self._send_out(now_ms)
            self._hand_over()

    def close(self) -> None:
        """Close the connection. Calls in flight end with `ClientClosed`. Leases stay."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._session.fail_all(ClientClosed("the client was closed while this call waited"))
            self._settle()
            self._drop_socket()
            if self._keeper is not None:
                self._keeper.set()
            if self._leading:
                self._wake()
            else:
                self._wake_in.close()
                self._wake_out.close()

    # -- leading and following; the lock is held on entry and on exit ---------------------

    def _follow(self, call: Call) -> None:
        waiter = self._followers.get(call)
        if waiter is None:
            waiter = self._followers[call] = threading.Lock()
            waiter.acquire()
        self._lock.release()
        try:
            # The leader times this call out; without one, whoever led last has woken us.
            waiter.acquire()
        finally:
            self._lock.acquire()
            self._followers.pop(call, None)

    def _lead(self, call: Call | None) -> None:
        self._leading = True
        try:
            while not self._closed:
                self._turn()
                self._settle()
                if call is None or call.done:
                    return
        finally:
            self._leading = False
            self._hand_over()
            if self._closed:
                self._wake_in.close()
                self._wake_out.close()

    def _hand_over(self) -> None:
        if not self._leading and self._followers:
            self._followers.pop(next(iter(self._followers))).release()

    def _settle(self) -> None:
        for call in self._session.take_done():
            waiter = self._followers.pop(call, None)
            if waiter is not None:
                waiter.release()

    def _wake(self) -> None:
        with suppress(BlockingIOError):
            self._wake_out.send(b"\0")

    def _turn(self) -> None:
        """Connect, or wait for the socket once; then see what time has brought."""
        now_ms = mono_ms()
        if self._socket is None:
            self._connect(now_ms)
        else:
            if self._unwritten or self._session.frames_out:
                self._flush(now_ms)
            self._read_once(now_ms)
        self._tick()

    def _tick(self) -> None:
        now_ms = mono_ms()
        session = self._session
        session.tick(now_ms)
        if session.dead is not None and self._socket is not None:
            self._break(ConnectionAbortedError(session.dead), now_ms)
        if self._unwritten or session.frames_out:
            self._flush(now_ms)

    def _read_once(self, now_ms: int) -> None:
        self._alarm_ms = self._session.alarm_ms
        events = self._pause(self._alarm_ms - now_ms)
        if self._socket is not None and events:
            self._receive()

    def _pause(self, milliseconds: int) -> bool:
        """Wait, without the lock; whether the socket has something for us."""
        poll, wake = self._poll, self._wake_fd
        milliseconds = min(max(0, milliseconds), 2**31 - 1)
        self._lock.release()
        try:
            events = poll.poll(milliseconds)
        finally:
            self._lock.acquire()
        ready = False
        for descriptor, _ in events:
            if descriptor != wake:
                ready = True
            elif not self._closed:
                with suppress(BlockingIOError):
                    self._wake_in.recv(4096)
        return ready

    # -- the socket -------------------------------------------------------------------

    def _connect(self, now_ms: int) -> None:
        session, dialer = self._session, self._dialer
        if dialer.at_ms > now_ms:
            self._alarm_ms = session.alarm_ms
            self._pause(min(dialer.at_ms, self._alarm_ms) - now_ms)
            return
        link.opening(session, dialer, now_ms)
        timeout_ms = min(self._settings.connect_timeout_ms, max(1, session.alarm_ms - now_ms))
        address = dialer.address
        self._lock.release()
        made: socket.socket | None = None
        trouble: Exception | None = None
        try:
            made = socket.create_connection(address, timeout_ms / 1000)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.setblocking(False)
        except (OSError, UnicodeError) as error:
            trouble = error
        finally:
            self._lock.acquire()
        now_ms = mono_ms()
        if made is None or self._closed:
            if made is not None:
                made.close()
            if trouble is not None:
                link.no_connection(session, dialer, trouble, now_ms)
            return
        self._socket = made
        self._poll.register(made, select.POLLIN)
        session.begin(str(address), now_ms, self._settings.connect_timeout_ms)
        self._keep()

    def _receive(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(self._receive_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(error, mono_ms())
            return
        if not data:
            self._break(ConnectionResetError("closed by the broker"), mono_ms())
            return
        full = len(data) == self._receive_bytes
        self._receive_bytes = _RECEIVE_BYTES_MAX if full else _RECEIVE_BYTES
        try:
            link.received(self._session, self._dialer, data, mono_ms())
        except (ProtocolViolation, BrokerError) as error:
            self._break(error, mono_ms())

    def _flush(self, now_ms: int) -> None:
        """Write what the socket takes now; the leader waits for the rest."""
        if self._socket is None:
            return
        try:
            if not self._unwritten:
                data = self._session.take_out()
                if not data:
                    if self._wants_write:
                        self._watch(False)
                    return
                sent = self._socket.send(data)
                if sent < len(data):
                    self._unwritten = memoryview(data)[sent:]
            while self._unwritten:
                self._unwritten = self._unwritten[self._socket.send(self._unwritten) :]
        except (BlockingIOError, InterruptedError):
            self._watch(True)
            return
        except OSError as error:
            self._break(error, now_ms)
            return
        if self._wants_write:
            self._watch(False)

    def _watch(self, writable: bool) -> None:
        if writable != self._wants_write and self._socket is not None:
            events = select.POLLIN | (select.POLLOUT if writable else 0)
            self._poll.modify(self._socket, events)
            self._wants_write = writable

    def _break(self, error: Exception, now_ms: int) -> None:
        self._drop_socket()
        link.broken(self._session, self._dialer, error, now_ms)

    def _drop_socket(self) -> None:
        if self._socket is None:
            return
        self._poll.unregister(self._socket)
        self._socket.close()
        self._socket = None
        self._unwritten = memoryview(b"")
        self._wants_write = False

    # -- keep-alive ---------------------------------------------------------------------

    def _keep(self) -> None:
        if self._keeper is not None:
            self._keeper.set()
            return
        event = self._keeper = threading.Event()
        # A client that is dropped without being closed wakes its keeper, which then ends.
        reference = weakref.ref(self, lambda _: event.set())
        threading.Thread(
            target=_keep_alive, args=(reference, event), name="tenure-keep-alive", daemon=True
        ).start()

    def keep_alive(self) -> float | None:
        """Ping if it is time and nobody leads. The seconds until the next look; None: for ever.

        Raises `ClientClosed` when there is nothing more to do.
        """
        with self._lock:
            if self._closed:
                raise ClientClosed("the client is closed")
            if self._socket is None:
                return None
            if not self._leading:
                self._tick()
                if self._session.pinging:
                    self._lead(None)
                self._settle()
                self._hand_over()
            return max(_KEEPER_PAUSE_S_MIN, (self._session.alarm_ms - mono_ms()) / 1000)

    def forked(self) -> None:
        """In a child of a fork: begin anew. The parent keeps the connection."""
        if self._closed:
            return
        if self._socket is not None:
            self._socket.close()
        self._wake_in.close()
        self._wake_out.close()
        self._start()


def _keep_alive(reference: weakref.ref[SyncLink], event: threading.Event) -> None:
    pause_s: float | None = 0.0
    while True:
        event.wait(None if pause_s is None else min(pause_s, _KEEPER_PAUSE_S_MAX))
        event.clear()
        kept = reference()
        if kept is None:
            return
        try:
            pause_s = kept.keep_alive()
        except ClientClosed:
            return
        del kept
