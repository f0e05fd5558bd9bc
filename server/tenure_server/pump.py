"""The turn: what happened since the last one is committed in one batch, and answered in one write each.

    data_received … data_received ─► turn: tick, seal, submit ─►  commit (another thread)
                                      └─► instant replies           └─► announce ─► replies ─► turn

One commit is in flight at most; while it runs, the next batch gathers. A small batch may be
durable before `submit` returns: its replies leave at once, and what else there is to do about it
is done while the clients read, but before anything new. An error of the store latches the pump:
nobody is answered any more, for whether the batch is durable is unknown.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tenure_server.clock import mono_us
from tenure_server.connection import Connection
from tenure_server.engine import Now, Reply, Sealed
from tenure_storage.store import JOBS, Store, StoreError

if TYPE_CHECKING:
    from tenure_server.hub import Hub


LATE_MS = 500
"""When a turn comes so much later than it was due, the process or the machine stood still."""

GRACE_MS = 250
"""Then time brings nothing for so long: what clients sent meanwhile is read first."""

GRACES_MAX = 3
"""So often in a row: a loop that is always late must go on as well."""


class Pump:
    """Drives the engine and the store. `on_fault(error, in_store)` is called once, when it latches."""

    def __init__(
        self,
        hub: Hub,
        store: Store,
        on_fault: Callable[[BaseException, bool], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._hub = hub
        self._store = store
        self._on_fault = on_fault
        self._loop = loop
        self._scheduled = False
        self._in_flight: Sealed | None = None
        self._submitting_on = 0
        """The thread that is in `submit` now; 0: none is."""
        self._outcome: tuple[BaseException | None] | None = None
        """How the batch ended that was just submitted, if `submit` knows."""
        self._durable = False
        """Whether the batch in flight is on the disk, and only has to be announced."""
        self._submitted_us = 0
        self._alarm_ms: int | None = None
        self._armed_ms = 0
        """When that alarm was set."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_ms = 0
        self._grace_until_ms: int | None = None
        self._graces = 0
        """Since time brought something last."""
        self._idle: list[asyncio.Future[None]] = []
        self._last_turns = False
        self.latched = False

    @property
    def committing(self) -> bool:
        """Whether a commit is in flight."""
        return self._in_flight is not None

    @property
    def busy(self) -> bool:
        """Whether a commit is in flight or a turn is to come."""
        return self.committing or self._scheduled

    def wake(self) -> None:
        """Something happened: a turn will come when this one of the loop is over."""
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    async def drained(self) -> None:
        """Waits until all that was asked is committed and announced, or the pump latched.

        From now on time brings nothing new: chores and leases go on after the next start.
        """
        self._last_turns = True
        while not self.latched:
            self.wake()
            done = self._loop.create_future()
            self._idle.append(done)
            await done
            if not self.busy:
                return

    def stop(self) -> None:
        """No more turns."""
        self.latched = True
        if self._timer is not None:
            self._timer.cancel()
        self._release_waiters()

    # ---- the turn ----------------------------------------------------------------------

    def _turn(self) -> None:
        self._scheduled = False
        if self.latched:
            return
        try:
            self._step(self._hub.clock())
        except Exception as error:
            self.fault(error)

    def _step(self, now: Now) -> None:
        hub = self._hub
        engine = hub.engine
        ticked = self._due(now)
        if ticked:
            engine.tick(now)
        if self._in_flight is None:
            sealed = engine.seal(now)
            if sealed is not None:
                self._submit(sealed)
                if self.latched:
                    return
        self._deliver(engine.take_instant())
        for level, name, fields in engine.take_events():
            hub.log_limited(level, name, **fields)
        hub.feed_starved()
        if self._durable:
            # `_follow_up` comes at once, and knows more.
            return
        self._arm(now, ticked)
        if self._in_flight is None and self._idle and not self._scheduled:
            self._release_waiters()

    def stood_still(self, now: Now) -> None:
        """The process did nothing for a while: what lies in the sockets is read before time counts.

        A lease that ran out meanwhile may have been extended before, as far as its worker can tell.
        """
        until_ms = self._grace_until_ms
        if self._graces < GRACES_MAX and (until_ms is None or now.mono_ms >= until_ms):
            self._graces += 1
            self._grace_until_ms = now.mono_ms + GRACE_MS
            self.wake()

    def _due(self, now: Now) -> bool:
        """Whether the engine's time has come."""
        alarm_ms = self._alarm_ms
        if alarm_ms is None or now.mono_ms < alarm_ms or self._last_turns:
            return False
        if now.mono_ms - max(alarm_ms, self._armed_ms) >= LATE_MS:
            self.stood_still(now)
        if self._grace_until_ms is not None and now.mono_ms < self._grace_until_ms:
            return False
        self._grace_until_ms = None
        self._graces = 0
        return True

    def _submit(self, sealed: Sealed) -> None:
        counters = self._hub.counters
        counters.batches += 1
        counters.batch_jobs.observe(len(sealed.batch.tables[JOBS]))
        self._in_flight = sealed
        self._submitted_us = mono_us()
        self._submitting_on = threading.get_ident()
        try:
            self._store.submit(sealed.batch, self._on_done)
        except Exception as error:
            self._latch(error, in_store=True)
            return
        finally:
            self._submitting_on = 0
        outcome, self._outcome = self._outcome, None
        if outcome is not None:
            self._done_here(outcome[0], sealed.replies)

    def _on_done(self, error: BaseException | None) -> None:
        """Called by the store: on a thread of its own, or on this one before `submit` returns."""
        if threading.get_ident() == self._submitting_on:
            # Not acted on before the store is done with it too: it must be read through by then.
            self._outcome = (error,)
            return
        # A closed loop refuses: the process is ending anyway.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._committed, error)

    def _done_here(self, error: BaseException | None, replies: list[Reply]) -> None:
        if error is not None:
            self._latch(error, in_store=True)
            return
        self._durable = True
        leaving = replies.copy()
        # `announce` will find only what is asked from now on.
        replies.clear()
        self._loop.call_soon(self._follow_up)
        self._deliver(leaving)

    def _committed(self, error: BaseException | None) -> None:
        """A batch that was committed on the store's thread."""
        if self.latched:
            return
        if error is not None:
            self._latch(error, in_store=True)
            return
        try:
            now = self._hub.clock()
            self._announce(now)
            self._go_on(now)
        except Exception as fault:
            self.fault(fault)

    def catch_up(self, now: Now) -> None:
        """Announces what is durable: whoever was answered finds what the answer speaks of."""
        if self._durable:
            self._announce(now)

    def _follow_up(self) -> None:
        """What is left to do about a batch that was durable at once."""
        if self.latched:
            return
        try:
            now = self._hub.clock()
            self.catch_up(now)
            self._go_on(now)
        except Exception as fault:
            self.fault(fault)

    def _go_on(self, now: Now) -> None:
        self._step(now)
        self._hub.capacity.after_commit(now.mono_ms)

    def _announce(self, now: Now) -> None:
        self._in_flight = None
        self._durable = False
        took_us = mono_us() - self._submitted_us
        counters = self._hub.counters
        counters.commit_us.observe(took_us)
        counters.recent_commit_us.append(took_us)
        self._deliver(self._hub.engine.announce(now))

    def _deliver(self, replies: list[Reply]) -> None:
        for session, request_id, status, body in replies:
            connection = session.link
            # A session whose connection is gone has no link: its replies are dropped.
            if isinstance(connection, Connection):
                connection.answer(request_id, status, body)
        dirty = self._hub.dirty
        while dirty:
            self._hub.dirty = []
            for connection in dirty:
                connection.flush()
            dirty = self._hub.dirty

    # ---- time --------------------------------------------------------------------------

    def _arm(self, now: Now, ticked: bool) -> None:
        """Sees to it that a turn comes when the engine next has something to do."""
        at = self._alarm_ms = self._hub.engine.alarm_mono_ms(now)
        self._armed_ms = now.mono_ms
        if at is None or self._last_turns:
            return
        if self._grace_until_ms is not None:
            at = max(at, self._grace_until_ms)
        if at <= now.mono_ms:
            # After a slice of a chore the next is due at once. While a commit is in flight its
            # end brings the next turn: one slice per commit keeps the open batch small.
            if self._in_flight is None or not ticked:
                self.wake()
            return
        if self._timer is None or not now.mono_ms < self._timer_ms <= at:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_ms = at
            self._timer = self._loop.call_later((at - now.mono_ms) / 1000, self._ring)

    def _ring(self) -> None:
        self._timer = None
        self.wake()

    # ---- faults ------------------------------------------------------------------------

    def fault(self, error: BaseException) -> None:
        """A rule of the engine or the shell is broken: memory can no longer be believed."""
        self._latch(error, in_store=isinstance(error, StoreError))

    def _latch(self, error: BaseException, *, in_store: bool) -> None:
        if self.latched:
            return
        self.stop()
        self._on_fault(error, in_store)

    def _release_waiters(self) -> None:
        waiters, self._idle = self._idle, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
