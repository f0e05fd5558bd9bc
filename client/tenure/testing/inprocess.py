"""A whole broker inside this process: the real engine, pump and connections, in virtual time.

Nothing here waits or runs by itself. Whoever calls carries the bytes both ways until nothing
moves any more; a commit is done when it is submitted, for the store is in memory.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from tenure.core.call import Call
from tenure.settings import wall_ms
from tenure.testing.carrier import Carrier
from tenure.testing.pipe import Pipe
from tenure.testing.turns import in_job
from tenure.testing.virtual_time import VirtualLoop

if TYPE_CHECKING:
    from tenure_server.hub import Hub

_IDLE_MS = 86_400_000
_PRODUCER_MS = 60_000
"""Once the broker has forgotten all producers it looks at them no more: else a virtual month, with
a look every second, would take minutes."""


class InProcessBroker:
    """The broker, its store, its time and the clients that are connected to it."""

    hub: Hub

    def __init__(self) -> None:
        from tenure_storage.memory_store import MemoryStore

        self.lock = threading.RLock()
        """Held by whoever is inside: jobs of a test may run in threads."""
        # Wall time begins now, so that moments a test takes from the real clock make sense.
        self.loop = VirtualLoop(wall_ms())
        self.store = MemoryStore()
        self.carriers: dict[Carrier, None] = {}
        self.answered: deque[Call] = deque()
        self.on_answer: Callable[[Call], None] = lambda _: None
        """Called with every call that was answered without an error."""
        self._telling = False
        self.at_work: asyncio.Future[None] | None = None
        """Done at the end of the run of jobs that is under way on an event loop."""
        self._full = False
        # Always the same: a retry's jitter is no reason for a test to fail now and then.
        self._random = random.Random(0)
        self._fault: BaseException | None = None
        self._start()

    def _start(self) -> None:
        from tenure_server.assembly import assemble
        from tenure_server.config import Config, Timeouts
        from tenure_server.engine import Now

        self.hub = assemble(
            Config(ephemeral=True, timeouts=Timeouts(idle_ms=_IDLE_MS, producer_ms=_PRODUCER_MS)),
            self.store,
            clock=lambda: Now(self.loop.wall_ms, self.loop.mono_ms),
            random=self._random.random,
            new_id=self._random.randbytes,
            loop=cast(asyncio.AbstractEventLoop, self.loop),
            on_fault=self._on_fault,
        )
        self.hub.engine.store_full = self._full
        self.hub.pump.wake()
        self.settle()

    def _on_fault(self, error: BaseException, in_store: bool) -> None:
        self._fault = error

    # ---- clients -----------------------------------------------------------------------

    def attach(self, carrier: Carrier) -> Carrier:
        """A client is there."""
        self.carriers[carrier] = None
        return carrier

    def open_pipe(self) -> Pipe:
        """A new connection to the broker."""
        from tenure_server.connection import Connection

        return Pipe(Connection(self.hub))

    def settle(self) -> None:
        """Carry bytes and turn until everything that can be done now is done."""
        with self.lock:
            moved = True
            while moved:
                moved = self.loop.run()
                for carrier in list(self.carriers):
                    moved = carrier.exchange() or moved
            if self._fault is not None:
                raise RuntimeError("the broker of the test broke") from self._fault
            self._tell()

    def _tell(self) -> None:
        if self._telling:
            return
        self._telling = True
        try:
            while self.answered:
                self.on_answer(self.answered.popleft())
        finally:
            self._telling = False

    @property
    def rest(self) -> asyncio.Future[None] | None:
        """What a call that waits in this loop may hope for: the end of the run of jobs at work.

        None if there is none, or it cannot end before this call has: the call is a job's own.
        """
        rest = self.at_work
        if rest is None or in_job.get() or rest.get_loop() is not asyncio.get_running_loop():
            return None
        return rest

    # ---- time --------------------------------------------------------------------------

    @property
    def mono_ms(self) -> int:
        """The clock that deadlines run on."""
        return self.loop.mono_ms

    def advance(self, ms: int) -> None:
        """Let `ms` pass; everything on the way happens at its time."""
        with self.lock:
            until_ms = self.loop.mono_ms + ms
            while (at_ms := self._next_ms()) is not None and at_ms <= until_ms:
                self._move_to(at_ms)
            self._move_to(until_ms)

    def pass_some_time(self) -> None:
        """Move to the next moment at which anything happens."""
        with self.lock:
            at_ms = self._next_ms()
            if at_ms is None:
                raise RuntimeError("a call waits, and nothing is to come that could end it")
            self._move_to(at_ms)

    def _next_ms(self) -> int | None:
        moments = [carrier.alarm_ms for carrier in self.carriers]
        moments.append(self.loop.next_ms)
        return min((at_ms for at_ms in moments if at_ms is not None), default=None)

    def _move_to(self, mono_ms: int) -> None:
        self.loop.move_to(mono_ms)
        for carrier in list(self.carriers):
            carrier.tick()
        self.settle()

    # ---- faults ------------------------------------------------------------------------

    def restart(self) -> None:
        """As after kill -9: connections break, and a new broker starts with the same store."""
        with self.lock:
            self.loop.clear()
            for carrier in list(self.carriers):
                carrier.cut(ConnectionResetError("the broker was restarted"))
            self.loop.clear()
            self._start()

    def set_full(self, full: bool) -> None:
        """Whether the store has no room for enqueues."""
        with self.lock:
            self._full = full
            self.hub.engine.store_full = full

    def close(self) -> None:
        """The end: calls in flight end with `ClientClosed`."""
        with self.lock:
            for carrier in list(self.carriers):
                carrier.close()
            self.loop.clear()
            self.store.close()
