"""The process's signals, seen by a thread of their own.

    SIGTERM ─► tell the service manager ─► the loop: stop ─ again, or too long ─► end at once
    SIGHUP, SIGUSR2 ─► the loop: reload, dump

The loop's thread may wait for a disk that hangs, and whoever stops the broker then must be heard.
So the signals are blocked everywhere, and one thread fetches them from the kernel. It has to be
there before any other thread: new threads inherit what their makers block.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from tenure_server import exits
from tenure_server.diagnosis import stacks
from tenure_server.log import get_log
from tenure_server.notify import notify
from tenure_server.port_file import remove_port_file

if TYPE_CHECKING:
    from tenure_server.broker import Broker

STOPS = (signal.SIGTERM, signal.SIGINT)
WATCHED = (*STOPS, signal.SIGHUP, signal.SIGUSR2)

CLOSING_S = 11.0
"""How long a stop may take beyond `timeouts.stop`: farewells, and the store's close."""
DUMP_S = 1.0
"""How long the loop has for a dump; after that its thread's stack is the answer."""


class Signals:
    """Watches from the moment it is made, on the main thread, until `close`."""

    def __init__(self) -> None:
        self._blocked_before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        self._served: tuple[asyncio.AbstractEventLoop, Broker] | None = None
        self._closed = False
        self._until_s: float | None = None
        """When a stop has taken too long."""
        self._thread = threading.Thread(target=self._watch, name="tenure-signals", daemon=True)
        try:
            self._thread.start()
        except BaseException:
            self._unblock()
            raise

    def serve(self, broker: Broker) -> None:
        """From now on signals are for this broker, on the loop that runs; before, a stop ends all."""
        self._served = (asyncio.get_running_loop(), broker)

    def close(self) -> None:
        """Gives the signals back to whoever had them."""
        self._closed = True
        assert self._thread.ident is not None
        signal.pthread_kill(self._thread.ident, signal.SIGUSR2)
        self._thread.join()
        self._unblock()

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._blocked_before)

    # ---- on the thread -----------------------------------------------------------------

    def _watch(self) -> None:
        while True:
            number = self._next()
            if self._closed:
                return
            try:
                self._act_on(number)
            except Exception as error:
                # Whatever went wrong with this one, the next has to be heard.
                get_log().error("signal_failed", signal=number.name, error=repr(error))

    def _act_on(self, number: signal.Signals) -> None:
        if number in STOPS:
            self._on_stop(number)
        elif number == signal.SIGHUP:
            self._on_loop(lambda broker: broker.reload())
        else:
            self._dump()

    def _next(self) -> signal.Signals:
        """Waits for a signal, and for no longer than a stop may take."""
        if self._until_s is None:
            return signal.Signals(signal.sigwait(WATCHED))
        left_s = max(0.0, self._until_s - time.monotonic())
        got = signal.sigtimedwait(WATCHED, left_s)
        if got is None:
            assert self._served is not None
            get_log().error("did_not_stop", stacks=stacks(self._served[0]))
            self._leave(exits.UNCLEAN)
        return signal.Signals(got.si_signo)

    def _on_stop(self, number: signal.Signals) -> None:
        if self._until_s is not None or self._served is None:
            get_log().warning("stopping_at_once", signal=number.name)
            self._leave(128 + number)
        within_s = self._served[1].hub.timeouts.stop_ms / 1000 + CLOSING_S
        self._until_s = time.monotonic() + within_s
        self._on_loop(lambda broker: broker.stop())
        get_log().info("stopping", signal=number.name)
        notify("STOPPING=1")

    def _leave(self, code: int) -> NoReturn:
        # As after kill -9: what was confirmed is committed, the rest is as if never sent.
        if self._served is not None:
            port_file = self._served[1].hub.config.port_file
            if port_file is not None:
                remove_port_file(port_file)
        os._exit(code)

    def _dump(self) -> None:
        if self._served is None:
            return
        began = threading.Event()

        def dump(broker: Broker) -> None:
            began.set()
            broker.dump()

        self._on_loop(dump)
        if not began.wait(DUMP_S):
            get_log().warning("dump", stacks=stacks(self._served[0]), loop_answers=False)

    def _on_loop(self, act: Callable[[Broker], None]) -> None:
        if self._served is not None:
            loop, broker = self._served
            # A closed loop refuses: the process is ending anyway.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(act, broker)
