"""The engine's door: commands and time in; replies, events and batches out.

    execute ─► (operation changes memory, adds writes to the open batch) ─► pending replies
    seal    ─► the open batch and its replies leave for the disk
    announce ─► the oldest sealed batch is durable: its jobs enter the windows, its replies go

One thread calls it. The same calls in the same order give the same results.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from tenure_protocol.errors import BrokerError, UnknownOperation
from tenure_server.engine import (
    ack,
    chores,
    control,
    dead,
    enqueue,
    inspect,
    lanes,
    notes,
    reserve,
    serve,
    settle,
    sweeps,
    waiting,
)
from tenure_server.engine.core import Core
from tenure_server.engine.queues import NO_ALARM, TOTALS, Settings, change_settings
from tenure_server.engine.recovery import load
from tenure_server.engine.space import Flying, Space
from tenure_server.engine.types import EngineLimits, Event, Now, Reply, Sealed, Session
from tenure_storage.layout import sealed_map
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import DEAD, DUE, FINISHED, JOBS, META, StoreReader

Operation = Callable[[Core, Session, int, object], object]

OPERATIONS: dict[str, Operation] = {
    "enqueue": enqueue.enqueue,
    "reserve": reserve.reserve,
    "ack": ack.ack,
    "fail": settle.fail,
    "release": settle.release,
    "extend": settle.extend,
    "note": notes.note,
    "keep": settle.keep,
    "goodbye": settle.goodbye,
    "get": inspect.get,
    "cancel": inspect.cancel,
    "wait": waiting.wait,
    "peek": inspect.peek,
    "queue.create": control.create,
    "queue.configure": control.configure,
    "queue.list": control.list_queues,
    "queue.get": control.get,
    "queue.pause": control.pause,
    "queue.resume": control.resume,
    "queue.purge": control.purge,
    "queue.delete": control.delete,
    "dlq.list": dead.list_dead,
    "dlq.groups": dead.groups,
    "dlq.replay": dead.replay,
    "dlq.purge": dead.purge,
    "chore.get": chores.get,
    "chore.list": chores.list_chores,
    "chore.cancel": chores.cancel,
}
"""What the engine can do, by the name on the wire."""

SESSION_BYTES = 8
"""The length of a session id."""


class Engine:
    """A broker without sockets, clocks or disks; see the module."""

    def __init__(
        self,
        store: StoreReader,
        *,
        limits: EngineLimits,
        now: Now,
        random: Callable[[], float],
        new_id: Callable[[int], bytes],
        volatile: MemoryStore | None = None,
        clock_cut_ms: int = 0,
    ) -> None:
        """`clock_cut_ms`: by how much moments are cut, and the span between two may be shorter than told."""
        defaults = change_settings(Settings(), limits.queue_defaults)
        self._volatile = volatile if volatile is not None else MemoryStore()
        core = Core(store, self._volatile, limits, defaults, random, new_id, clock_cut_ms)
        core.now = now
        self._core = core
        load(core)
        core.set_now(now)

    # ---- sessions ----------------------------------------------------------------------

    def open_session(self, session_id: bytes | None, name: str, address: str, now: Now) -> Session:
        """A session for a connection; an old id takes its leases over."""
        core = self._core
        core.set_now(now)
        held = session_id is not None and any(
            session_id in space.leases.by_session for space in (core.disk, core.memory)
        )
        chosen = session_id if session_id is not None else core.new_id(SESSION_BYTES)
        session = Session(chosen, name, address, held)
        core.sessions[session] = None
        return session

    def close_session(self, session: Session, now: Now) -> None:
        """The connection is gone: what waited for it is dropped; its leases stay."""
        self._core.set_now(now)
        self._core.stirred = True
        waiting.drop_waits(self._core, session)
        self._core.sessions.pop(session, None)

    # ---- commands ----------------------------------------------------------------------

    def execute(self, session: Session, request_id: int, op: str, args: object, now: Now) -> None:
        """Carries out one request. Its reply comes from `take_instant` or `announce`."""
        core = self._core
        core.set_now(now)
        core.stirred = True
        core.instant = False
        operation = OPERATIONS.get(op)
        try:
            if operation is None:
                raise UnknownOperation(f"there is no operation {op[:64]!r}")
            result = operation(core, session, request_id, args)
        except BrokerError as error:
            core.refuse(session, request_id, error)
            return
        if result is not waiting.WAITING:
            core.reply(session, request_id, result, core.instant)

    def set_draining(self, on: bool, now: Now) -> None:
        """Stops (or allows again) enqueues and reserves; leases can be settled all the time."""
        core = self._core
        core.set_now(now)
        core.stirred = True
        core.draining = on
        if on:
            waiting.end_all_reserves(core)
        else:
            core.hot.update(dict.fromkeys(core.reserves))

    def reconfigure(self, limits: EngineLimits, now: Now) -> None:
        """Takes other limits and queue defaults; queues that exist keep their settings."""
        core = self._core
        core.set_now(now)
        core.stirred = True
        core.set_limits(limits, change_settings(Settings(), limits.queue_defaults))

    # ---- time --------------------------------------------------------------------------

    def tick(self, now: Now) -> None:
        """What time brings; bounded work, so `alarm_mono_ms` may be now again."""
        core = self._core
        core.set_now(now)
        core.stirred = True
        settle.end_lost_leases(core)
        waiting.end_waits(core)
        while core.due_at and core.due_at[0][0] <= core.now.wall_ms:
            at_ms, name = heapq.heappop(core.due_at)
            queue = core.queues.get(name)
            # Another moment is that of an alarm that was moved, or of a queue that was deleted.
            if queue is not None and queue.alarm_ms == at_ms:
                queue.alarm_ms = NO_ALARM
                core.hot[name] = None
        for space in (core.disk, core.memory):
            sweeps.expire_due(core, space)
        if core.next_forget_ms <= core.now.wall_ms:
            sweeps.forget_all(core)
        sweeps.run_chores(core)
        if core.has_producers and core.producer_sweep_ms <= core.now.mono_ms:
            core.producer_sweep_ms = core.now.mono_ms + sweeps.PRODUCER_SWEEP_MS
            sweeps.forget_producers(core)
        self._turn()

    def alarm_mono_ms(self, now: Now) -> int | None:
        """When `tick` next has something to do, in monotonic milliseconds."""
        core = self._core
        core.set_now(now)
        if core.hot:
            return now.mono_ms
        disk, memory = core.disk, core.memory
        ends = [disk.leases.next_end_ms(), memory.leases.next_end_ms()]
        if core.chores:
            ends.append(sweeps.next_chore_ms(core))
        if core.wait_ends:
            ends.append(core.wait_ends[0][0])
        wall = min(disk.next_due_ms, memory.next_due_ms, core.next_forget_ms)
        if core.due_at:
            wall = min(wall, core.due_at[0][0])
        if wall < NO_ALARM:
            ends.append(now.mono_ms + max(0, wall - core.now.wall_ms))
        if core.has_producers:
            ends.append(core.producer_sweep_ms)
        return min([end for end in ends if end is not None], default=None)

    # ---- the way out -------------------------------------------------------------------

    def _turn(self) -> None:
        """Serves whoever waits, and commits what needs no disk; nothing if nothing happened since."""
        core = self._core
        if not core.stirred:
            return
        core.stirred = False
        serve.serve_hot(core)
        while core.memory.writes or core.memory.dirty_lanes:
            lanes.save(core.memory)
            batch = core.memory.seal([])
            self._volatile.commit(batch)
            self._announced(core.memory)
            serve.serve_hot(core)
        for space in (core.disk, core.memory):
            lanes.trim(space, core.limits.window_bytes_max, None)
            if space.damaged:
                self._tell_damage(space)

    def _tell_damage(self, space: Space) -> None:
        core = self._core
        for table, key in space.damaged:
            core.event("error", "record_damaged", table=table, key=key.hex())
        core.damaged += len(space.damaged)
        space.damaged.clear()

    def take_instant(self) -> list[Reply]:
        """The replies that wait for no commit."""
        core = self._core
        self._turn()
        if core.pending and not (core.disk.writes or core.disk.dirty_lanes or core.changed_tallies):
            if core.disk.flying:
                core.disk.flying[-1].replies.extend(core.pending)
            else:
                core.instant_replies.extend(core.pending)
            core.pending = []
        replies, core.instant_replies = core.instant_replies, []
        core.bulk_bytes = 0
        return replies

    def seal(self, now: Now) -> Sealed | None:
        """Closes the open batch, or None if there is nothing to write."""
        core, space = self._core, self._core.disk
        core.set_now(now)
        self._turn()
        if not (space.writes or space.dirty_lanes or core.changed_tallies):
            return None
        lanes.save(space)
        for queue in core.changed_tallies.values():
            key = control.tally_key(queue.number)
            space.put(META, key, sealed_map(key, queue.tally))
        core.changed_tallies.clear()
        meta = [space.open.number, core.seq, core.clock_high_ms]
        space.put(META, b"batch", sealed_map(b"batch", meta))
        replies, core.pending = core.pending, []
        return Sealed(space.seal(replies), replies)

    def announce(self, now: Now) -> list[Reply]:
        """The oldest sealed batch is durable: its replies, in order."""
        self._core.set_now(now)
        self._core.stirred = True
        flown = self._announced(self._core.disk)
        return flown.replies

    def _announced(self, space: Space) -> Flying:
        core = self._core
        flown = space.flying.pop(0)
        jobs = flown.batch.tables[JOBS]
        leased = space.leases.places
        for lane, keys in flown.runs:
            lanes.announce(space, lane, keys, jobs, leased)
            queue = core.by_line.get(int.from_bytes(lane.key[:4], "big"))
            if queue is not None and queue.name in core.reserves:
                core.hot[queue.name] = None
        for key, row in flown.batch.tables[DUE].items():
            if row is not None:
                space.next_due_ms = min(space.next_due_ms, int.from_bytes(key[:6], "big"))
        for table in (DEAD, FINISHED):
            for key, row in flown.batch.tables[table].items():
                queue = core.by_number.get(int.from_bytes(key[:4], "big"))
                if queue is not None and row is not None:
                    until = int.from_bytes(key[4:10], "big")
                    if table != FINISHED:
                        retention_ms = queue.settings.dead_retention_ms
                        until = until + retention_ms if retention_ms else NO_ALARM
                    queue.next_forget_ms = min(queue.next_forget_ms, until)
                    core.next_forget_ms = min(core.next_forget_ms, until)
        return flown

    def take_events(self) -> list[Event]:
        """What an operator should know, since the last call."""
        events, self._core.events = self._core.events, []
        return events

    # ---- figures -----------------------------------------------------------------------

    @property
    def store_full(self) -> bool:
        """Whether enqueues are refused with STORE_FULL; set by the shell."""
        return self._core.store_full

    @store_full.setter
    def store_full(self, full: bool) -> None:
        self._core.store_full = full

    @property
    def bulk_bytes(self) -> int:
        """About how much the replies since the last `take_instant` hold that may be long."""
        return self._core.bulk_bytes

    @property
    def draining(self) -> bool:
        """Whether the broker is stopping."""
        return self._core.draining

    @property
    def session_count(self) -> int:
        """Open sessions."""
        return len(self._core.sessions)

    @property
    def lease_count(self) -> int:
        """Jobs in workers' hands."""
        return len(self._core.disk.leases) + len(self._core.memory.leases)

    @property
    def waiting_count(self) -> int:
        """Requests that wait."""
        return self._core.waiting

    def queue_infos(self, now: Now) -> Iterator[dict[str, object]]:
        """Every queue's info, by name."""
        self._core.set_now(now)
        return control.queue_infos(self._core)

    def queue_names(self) -> list[str]:
        """Every queue, by name."""
        return sorted(self._core.queues)

    def queue_info(self, name: str, now: Now) -> dict[str, object] | None:
        """One queue's info, or None."""
        self._core.set_now(now)
        queue = self._core.queues.get(name)
        return None if queue is None else control.queue_info(self._core, queue)

    def stats(self, now: Now) -> dict[str, object]:
        """The engine's part of `stats`."""
        core = self._core
        core.set_now(now)
        totals = dict.fromkeys(TOTALS, 0)
        for queue in core.queues.values():
            for name in TOTALS:
                totals[name] += getattr(queue.totals, name)
        return {
            "queues": len(core.queues),
            "sessions": len(core.sessions),
            "leases": self.lease_count,
            "waiting_reserves": core.waiting,
            "window_bytes": core.disk.window_bytes + core.memory.window_bytes,
            "jobs": sum(queue.jobs for queue in core.queues.values()),
            "damaged": core.damaged,
            "draining": core.draining,
            "totals": totals,
        }
