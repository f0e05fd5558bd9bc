"""What the engine does bit by bit, in slices: chores, expiry, retention, old producers.

Every slice is bounded, adds its writes to the open batch, and says when to go on.
"""

from __future__ import annotations

from tenure_protocol.errors import BrokerError
from tenure_server.engine import chores, dead
from tenure_server.engine.chores import Chore
from tenure_server.engine.core import Core
from tenure_server.engine.ending import TALLIES, clear, drop_notes, forget, may_expire
from tenure_server.engine.finding import find_live, state_of
from tenure_server.engine.jobs import expire
from tenure_server.engine.queues import Queue
from tenure_server.engine.space import Space
from tenure_storage.keys import due_key, ended_key
from tenure_storage.layout import (
    HAS_STATE,
    Damaged,
    intact,
    opened_map,
    unpack_producer,
    unpack_record,
)
from tenure_storage.store import DEAD, DUE, FINISHED, JOBS, PRODUCERS

SLICE_ROWS = 2_000
"""Rows a slice of a sweep looks at."""

ENTRY_ROWS = 500
"""Dead and finished entries a slice looks at."""

AGAIN_MS = 100
"""How long a sweep waits for its own deletes to be announced before it looks again."""

BLOCKED_MS = 1_000
"""How long a sweep waits for leases in its line to end."""

PRODUCER_SWEEP_MS = 1_000
"""How often a slice of the producers is looked at."""

NEVER = 1 << 62


# ---- chores ------------------------------------------------------------------------------


def run_chores(core: Core) -> None:
    """One slice of every chore that is due."""
    for chore in [c for c in core.chores.values() if c.due_ms <= core.now.mono_ms]:
        _SLICES[chore.kind](core, chore)


def next_chore_ms(core: Core) -> int | None:
    """When the next slice is due, in monotonic milliseconds."""
    return min((chore.due_ms for chore in core.chores.values()), default=None)


def _sweep_line(core: Core, chore: Chore) -> None:
    space = chore.space
    prefix = chore.line.to_bytes(4, "big")
    # Keys have 16 bytes: the bare prefix is before them all, and this is after them.
    first, last = prefix, prefix + b"\xff" * 12
    found = space.store.scan(JOBS, chore.cursor or first, last, SLICE_ROWS)
    blocked = False
    for key, row in found:
        if key in space.leases.places:
            blocked = True
        elif not space.pending(key):
            _sweep_job(space, chore.queue_number, key, row)
            chore.done += 1
    chore.found = chore.found or bool(found)
    if found:
        chore.cursor = found[-1][0]
        chore.due_ms = core.now.mono_ms + (BLOCKED_MS if blocked else 0)
        chores.save(chore)
        return
    if chore.cursor or chore.found or _overlay_has(space, (JOBS,), prefix):
        # A pass that met something, or began in the middle, is followed by another, until one
        # meets nothing.
        chore.cursor, chore.found = b"", False
        chore.due_ms = core.now.mono_ms + AGAIN_MS
        chores.save(chore)
        return
    chores.end(core, chore)


def _overlay_has(space: Space, tables: tuple[int, ...], prefix: bytes) -> bool:
    batches = [space.open, *(flying.batch for flying in space.flying)]
    return any(
        row is not None and key.startswith(prefix)
        for batch in batches
        for table in tables
        for key, row in batch.tables[table].items()
    )


def _sweep_job(space: Space, queue_number: int, key: bytes, row: bytes) -> None:
    if not intact(key, row):
        space.set_aside(JOBS, key, row)
        return
    record = unpack_record(row)
    clear(space, queue_number, record.id or key, key, record)
    if record.flags & HAS_STATE:
        drop_notes(space, record.id or key)


def _sweep_queue(core: Core, chore: Chore) -> None:
    space = chore.space
    first, last = dead.bounds(chore.queue_number)
    left = 0
    for table in (DEAD, FINISHED):
        touched = space.unannounced(table)
        for key, row in space.store.scan(table, first, last, ENTRY_ROWS):
            left += 1
            if any(key in rows for rows in touched):
                continue
            try:
                forget(space, opened_map(key, row))
            except Damaged:
                space.set_aside(table, key, row)
            space.put(table, key, None)
            chore.done += 1
    chore.due_ms = core.now.mono_ms + AGAIN_MS
    # Jobs that ended in the batch that deletes their queue are not in the store yet.
    if not left and not _overlay_has(space, (DEAD, FINISHED), first[:4]):
        chores.end(core, chore)


def _dead_slice(core: Core, chore: Chore) -> None:
    queue = core.by_number.get(chore.queue_number)
    if queue is None:
        chores.end(core, chore, "cancelled")
        return
    first, last = dead.bounds(chore.queue_number, chore.started_at_ms)
    wanted = dead.Filter(**chore.wanted)
    most = _allowance(core, chore)
    rows, following = queue.space.scan(DEAD, chore.cursor or first, last, ENTRY_ROWS)
    for key, row in rows:
        if most <= 0:
            break
        chore.cursor = key
        entry = dead.opened_entry(core, DEAD, key, row, queue)
        if entry is None or not wanted.matches(entry, chore.started_at_ms):
            continue
        try:
            if chore.kind == "replay":
                dead.replay_one(core, queue, key, entry)
            else:
                dead.purge_one(core, queue, key, entry)
            chore.done += 1
            most -= 1
        except BrokerError:
            chore.skipped += 1
    else:
        if following is None or (chore.limit is not None and chore.done >= chore.limit):
            chores.end(core, chore)
            return
        chore.cursor = following
    if chore.limit is not None and chore.done >= chore.limit:
        chores.end(core, chore)
        return
    chore.due_ms = core.now.mono_ms + _pause_ms(chore)
    chores.save(chore)


def _allowance(core: Core, chore: Chore) -> int:
    """How many jobs this slice may act on."""
    most = ENTRY_ROWS if chore.limit is None else chore.limit - chore.done
    return most if chore.rate is None else min(most, max(1, round(chore.rate / 10)))


def _pause_ms(chore: Chore) -> int:
    if chore.rate is None:
        return 0
    return max(1, round(1000 * max(1, round(chore.rate / 10)) / chore.rate))


_SLICES = {
    "sweep_line": _sweep_line,
    "sweep_queue": _sweep_queue,
    "replay": _dead_slice,
    "purge_dead": _dead_slice,
}


# ---- expiry ------------------------------------------------------------------------------


def expire_due(core: Core, space: Space) -> None:
    """Ends jobs that were not started in time; one slice."""
    now_ms = core.now.wall_ms
    if space.next_due_ms > now_ms:
        return
    last = due_key(now_ms, b"\xff" * 16)
    rows, following = space.scan(DUE, b"", last, SLICE_ROWS)
    for key, _ in rows:
        space.put(DUE, key, None)
        job_id = key[6:]
        live = find_live(core, job_id)
        if live is not None and live.lease is None and may_expire(live, now_ms):
            expire(core, live)
    if following is None:
        ahead = space.store.scan(DUE, last, b"\xff" * 22, 1)
        space.next_due_ms = int.from_bytes(ahead[0][0][:6], "big") if ahead else NEVER


# ---- retention ---------------------------------------------------------------------------


def forget_all(core: Core) -> None:
    """One slice for every queue that may have something to forget."""
    for queue in core.by_number.values():
        forget_old(core, queue)
    core.next_forget_ms = min(
        (queue.next_forget_ms for queue in core.by_number.values()), default=NEVER
    )


def forget_old(core: Core, queue: Queue) -> None:
    """Deletes finished jobs that were kept long enough, and dead ones if the queue says so."""
    now_ms = core.now.wall_ms
    if queue.next_forget_ms > now_ms:
        return
    ahead = _forget(core, queue, FINISHED, now_ms, 0)
    retention_ms = queue.settings.dead_retention_ms
    if retention_ms:
        ahead = min(ahead, _forget(core, queue, DEAD, now_ms - retention_ms, retention_ms))
    queue.next_forget_ms = ahead


def _forget(core: Core, queue: Queue, table: int, until_ms: int, later_ms: int) -> int:
    """Deletes entries up to `until_ms`; when to look again."""
    space = queue.space
    first, _ = dead.bounds(queue.number)
    last = ended_key(queue.number, max(until_ms, 0), (1 << 40) - 1)
    rows, following = space.scan(table, first, last, ENTRY_ROWS)
    for key, row in rows:
        entry = dead.opened_entry(core, table, key, row, queue)
        if entry is None:
            continue
        space.put(table, key, None)
        state = state_of(space, entry["id"])
        if state is not None and state.place == key:
            forget(space, entry)
        core.tally(queue, TALLIES[entry.get("end", "dead")], -1)
    if following is not None:
        return 0
    _, end = dead.bounds(queue.number)
    ahead = space.store.scan(table, last, end, 1)
    return int.from_bytes(ahead[0][0][4:10], "big") + later_ms if ahead else NEVER


# ---- producers ---------------------------------------------------------------------------


def forget_producers(core: Core) -> None:
    """Deletes what is remembered of producers that were silent for long; one slice of each space."""
    passed = [_forget_producers(core, space) for space in (core.disk, core.memory)]
    core.has_producers = not all(passed)


def _forget_producers(core: Core, space: Space) -> bool:
    """One slice; whether the space remembers nobody any more."""
    before_ms = core.now.wall_ms - core.limits.producer_ttl_ms
    # Too many: only those that were heard last are remembered.
    crowded = space.store.count(PRODUCERS) > core.limits.producer_rows_max
    rows, following = space.scan(PRODUCERS, space.producer_cursor, b"\xff" * 18, SLICE_ROWS)
    for key, row in rows:
        try:
            old = unpack_producer(key, row).now_ms < before_ms
            if old or (crowded and key[:16] not in core.producers):
                space.put(PRODUCERS, key, None)
        except Damaged:
            space.set_aside(PRODUCERS, key, row)
    space.producer_cursor = following or b""
    return not space.store.count(PRODUCERS) and not space.unannounced(PRODUCERS)
