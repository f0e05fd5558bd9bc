"""How a job ends: finished (kept for a while, or gone) or buried in the dead-letter queue.

Either way everything it had as an unfinished job goes in the same batch, and whoever waits for
it is told.
"""

from __future__ import annotations

from typing import Any

import msgpack

from tenure_server.engine.core import Core
from tenure_server.engine.finding import Live, known, put_state, show_ended
from tenure_server.engine.queues import CANCELLED, EXPIRED, SUCCEEDED
from tenure_server.engine.queues import DEAD as DEAD_TALLY
from tenure_server.engine.space import Space
from tenure_storage.keys import (
    CHECKPOINT,
    NOTED,
    due_key,
    ended_key,
    finished_key,
    note_key,
    priority_of,
    unique_key,
)
from tenure_storage.layout import (
    HAS_DUE,
    HAS_NOTES,
    HAS_STATE,
    HAS_UNIQUE,
    IN_DEAD,
    IN_FINISHED,
    MOVED,
    RETRYING,
    Record,
    StateRow,
    extras_of,
    pack_record,
    pack_state,
    parse_state,
    sealed_map,
    unpack_history,
    unpack_record,
)
from tenure_storage.store import DEAD, DUE, FINISHED, JOBS, NOTES, STATES, UNIQUE

TALLIES = {"succeeded": SUCCEEDED, "cancelled": CANCELLED, "expired": EXPIRED, "dead": DEAD_TALLY}
"""Which count of a queue's tally a kept job is in, by how it ended."""


def clear(space: Space, queue_number: int, job_id: bytes, place: bytes, record: Record) -> None:
    """Everything an unfinished job has in the store goes, but its lease and its count."""
    space.put(JOBS, place, None)
    space.put(STATES, job_id, None)
    if record.flags & HAS_DUE:
        space.put(DUE, due_key(record.expires_at_ms, job_id), None)
    if record.flags & HAS_UNIQUE:
        key = unique_key(queue_number, extras_of(record)["unique"])
        row = space.read(UNIQUE, key)
        if row is not None and row[4:] == job_id:
            space.put(UNIQUE, key, None)


def drop_notes(space: Space, job_id: bytes) -> None:
    """What a job noted goes."""
    for kind in (NOTED, CHECKPOINT):
        space.put(NOTES, note_key(job_id, kind), None)


def forget(space: Space, entry: dict[str, Any]) -> None:
    """What a kept job has beside its entry goes."""
    space.put(STATES, entry["id"], None)
    state = entry["state"]
    if state and parse_state(state).flags & HAS_NOTES:
        drop_notes(space, entry["id"])


def _drop_notes_unless(kept: bool, live: Live, record: Record, state: StateRow) -> None:
    # A job that must have a state row and has none lost it to damage: nobody will come back
    # for its notes.
    has_notes = bool(state.flags & HAS_NOTES)
    lost_sight = live.state is None and bool(record.flags & HAS_STATE)
    if (has_notes and not kept) or (lost_sight and not has_notes):
        drop_notes(live.queue.space, live.id)


def finish(
    core: Core,
    live: Live,
    end: str,
    state: StateRow,
    *,
    result: bytes | None = None,
    reason: str | None = None,
) -> None:
    """A job ends as succeeded, cancelled or expired (or dead, in a queue without a DLQ)."""
    queue, record, now = live.queue, unpack_record(live.row), core.now
    settings = queue.settings
    keep_ms = settings.ended_retention_ms
    if end == "succeeded":
        keep_ms = extras_of(record).get("retention_ms", settings.retention_ms)
    clear(queue.space, queue.number, live.id, live.place, record)
    entry = _entry(live, record, state, reason) | {
        "end": end,
        "result": result,
        "ended_at_ms": now.wall_ms,
    }
    if keep_ms > 0:
        forget_at_ms = now.wall_ms + keep_ms
        key = finished_key(queue.number, forget_at_ms, core.next_seqs(1), TALLIES[end])
        queue.space.put(FINISHED, key, sealed_map(key, entry))
        put_state(queue.space, live.id, state._replace(where=IN_FINISHED, place=key))
        core.tally(queue, TALLIES[end], 1)
    core.wake_waits(live.id, lambda: show_ended(core, queue, entry))
    _drop_notes_unless(keep_ms > 0, live, record, state)


def bury(core: Core, live: Live, state: StateRow, reason: str) -> None:
    """A job whose attempts are used up goes to the dead-letter queue."""
    queue, record, now = live.queue, unpack_record(live.row), core.now
    queue.totals.dead += 1
    if not queue.settings.dlq:
        finish(core, live, "dead", state, reason=reason)
        return
    clear(queue.space, queue.number, live.id, live.place, record)
    attempts = unpack_history(state.history)
    entry = _entry(live, record, state, reason) | {
        "died_at_ms": now.wall_ms,
        "task": task_of(record.body),
        "error_type": attempts[-1].error_type if attempts else "",
        "message": attempts[-1].message if attempts else "",
    }
    key = ended_key(queue.number, now.wall_ms, core.next_seqs(1))
    queue.space.put(DEAD, key, sealed_map(key, entry))
    put_state(queue.space, live.id, state._replace(where=IN_DEAD, place=key))
    core.tally(queue, DEAD_TALLY, 1)
    core.wake_waits(live.id, lambda: show_ended(core, queue, entry))
    _drop_notes_unless(True, live, record, state)


def _entry(live: Live, record: Record, state: StateRow, reason: str | None) -> dict[str, Any]:
    """What a dead and a finished entry have in common."""
    still = record._replace(flags=record.flags & ~(MOVED | RETRYING), id=None)
    return {
        "id": live.id,
        "record": pack_record(b"", still)[4:],
        "priority": priority_of(live.place),
        "state": pack_state(b"", state._replace(place=b""))[4:],
        "reason": reason,
    }


def task_of(body: bytes) -> str:
    """The task name in a body that was checked when it came."""
    task: str = msgpack.unpackb(body)[0]
    return task


def may_expire(live: Live, now_ms: int) -> bool:
    """Whether a waiting job's time to start is over. One that was given back was not started."""
    record = unpack_record(live.row)
    if not 0 < record.expires_at_ms <= now_ms:
        return False
    state = known(live.state)
    return state.failures + state.timeouts + state.lost == 0
