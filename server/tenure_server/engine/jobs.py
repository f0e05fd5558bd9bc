"""What can happen to an unfinished job: it is moved, put back, expired.

    waiting ──lease──► leased ──ack──────────► finished (kept, or gone)
       ▲                 │ ├──fail───────────► MOVE to its next time, or buried
       └──────put back───┘ └──lease lost─────► put back, or buried

The id is the birth key for ever. A job that moves gets a new key with a fresh seq, its
record carries the id from then on, and its state row says where it is.
"""

from __future__ import annotations

from tenure_server.engine import lanes
from tenure_server.engine.core import Core
from tenure_server.engine.ending import finish, may_expire
from tenure_server.engine.finding import Live, known, put_state
from tenure_server.engine.lease_rows import erase
from tenure_server.engine.leases import Lease
from tenure_server.engine.queues import Queue
from tenure_storage.keys import place_of, priority_of, ready_at_of
from tenure_storage.layout import (
    HAS_STATE,
    IN_JOBS,
    MOVED,
    RETRYING,
    AttemptRow,
    Record,
    StateRow,
    pack_history,
    pack_record,
    unpack_history,
    unpack_record,
)
from tenure_storage.store import JOBS

HISTORY_MAX = 20
"""How many attempts of a job are remembered, the last ones."""


def with_attempt(
    core: Core,
    state: StateRow,
    lease: Lease,
    outcome: str,
    error_type: str = "",
    message: str = "",
    traceback: str = "",
) -> StateRow:
    """`state` with this delivery's token and its line in the history."""
    attempts = unpack_history(state.history)
    attempts.append(
        AttemptRow(
            lease.attempt,
            lease.started_at_ms,
            core.now.wall_ms,
            lease.worker.decode(errors="replace"),
            outcome,
            error_type,
            message,
            traceback,
        )
    )
    return state._replace(attempt=lease.attempt, history=pack_history(attempts[-HISTORY_MAX:]))


def end_lease(core: Core, lease: Lease) -> None:
    """The lease goes; the job is the caller's business."""
    queue, space = lease.queue, lease.queue.space
    lane = space.lanes.get(lease.place[:5])
    if lane is not None:
        # Before the place is free: a walk of the mark must not step over a job that waits
        # again and is not counted yet.
        lanes.mature(space, lane, core.now.wall_ms, space.leases.places)
    space.leases.remove(lease)
    erase(space, lease)
    queue.leased -= 1
    queue.leased_bytes -= lease.size


def leave_line(core: Core, queue: Queue, place: bytes, row: bytes) -> None:
    """A waiting job leaves its lane, wherever it goes."""
    lane = queue.lanes[place[4]]
    lanes.mature(queue.space, lane, core.now.wall_ms, queue.space.leases.places)
    lanes.count(queue.space, lane, place, -1, len(row), bool(row[4] & RETRYING))
    lanes.forget(queue.space, lane, place)


def move(
    core: Core,
    queue: Queue,
    job_id: bytes,
    old: bytes | None,
    record: Record,
    state: StateRow,
    *,
    priority: int,
    ready_at_ms: int,
    retrying: bool,
) -> bytes:
    """Puts a job in a new place of `queue`, out of `old` (None: it was in no line)."""
    space = queue.space
    if old is not None:
        space.put(JOBS, old, None)
    place = free_place(core, queue, priority, ready_at_ms)
    flags = record.flags & ~RETRYING | MOVED | HAS_STATE | (RETRYING if retrying else 0)
    row = pack_record(place, record._replace(flags=flags, id=job_id))
    lane = queue.lane(priority)
    lanes.mature(space, lane, core.now.wall_ms, space.leases.places)
    space.put_jobs(lane, [place], [row])
    lanes.count(space, lane, place, 1, len(row), retrying)
    put_state(space, job_id, state._replace(where=IN_JOBS, place=place))
    core.hot[queue.name] = None
    return place


def free_place(core: Core, queue: Queue, priority: int, ready_at_ms: int) -> bytes:
    """A place nobody is in."""
    while True:
        place = place_of(queue.line, priority, ready_at_ms, core.next_seqs(1))
        if not core.seq_wrapped or queue.space.get(JOBS, place) is None:
            return place


def put_back(core: Core, lease: Lease, row: bytes, state: StateRow) -> None:
    """A job whose lease has ended waits again, in its old place."""
    queue, place, space = lease.queue, lease.place, lease.queue.space
    record = unpack_record(row)
    live = Live(queue, lease.id, place, row, state, None)
    if record.expires_at_ms and may_expire(live, core.now.wall_ms):
        queue.totals.expired += 1
        finish(core, live, "expired", state, reason="expired")
        return
    in_future = ready_at_of(place) > core.now.wall_ms
    if in_future or int.from_bytes(place[:4], "big") != queue.line:
        # Its line was purged while it was out, so it goes on in the new one; or the clock was
        # set back, and a job that was due once does not wait for its time again.
        move(
            core,
            queue,
            lease.id,
            place,
            record,
            state,
            priority=priority_of(place),
            ready_at_ms=min(ready_at_of(place), core.now.wall_ms),
            retrying=False,
        )
        return
    lane = queue.lane(place[4])
    if record.flags & HAS_STATE and not record.flags & RETRYING:
        if not space.pending(place):
            lanes.admit(space, lane, place, row)
    else:
        row = pack_record(place, record._replace(flags=record.flags & ~RETRYING | HAS_STATE))
        space.put_jobs(lane, [place], [row])
    lanes.count(space, lane, place, 1, len(row), False)
    put_state(space, lease.id, state._replace(where=IN_JOBS, place=place))
    core.hot[queue.name] = None


def expire(core: Core, live: Live) -> None:
    """A waiting job ends as expired."""
    leave_line(core, live.queue, live.place, live.row)
    live.queue.totals.expired += 1
    finish(core, live, "expired", known(live.state), reason="expired")
