"""Finding a job by its id, unfinished or kept, and showing it.

An unfinished job is in its place: that of its birth, or the one its state row names. A dead or
finished job's state row names its entry.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tenure_protocol.errors import JobNotFound
from tenure_server.engine import lanes
from tenure_server.engine.core import Core
from tenure_server.engine.leases import Lease
from tenure_server.engine.queues import Queue
from tenure_server.engine.space import Space
from tenure_server.engine.views import NO_STATE, job_info, waiting_state
from tenure_storage.keys import CHECKPOINT, NOTED, note_key, priority_of, ready_at_of
from tenure_storage.layout import (
    HAS_NOTES,
    HAS_STATE,
    IN_DEAD,
    IN_FINISHED,
    IN_JOBS,
    MOVED,
    StateRow,
    intact,
    opened_map,
    pack_state,
    parse_state,
    unpack_record,
    unpack_state,
)
from tenure_storage.store import DEAD, FINISHED, JOBS, NOTES, STATES


class Live(NamedTuple):
    """An unfinished job: where it is and what is known of it."""

    queue: Queue
    id: bytes
    place: bytes
    row: bytes
    state: StateRow | None
    lease: Lease | None

    @property
    def shown_bytes(self) -> int:
        """About how much its info is as it travels: twenty tracebacks outweigh most bodies."""
        return len(self.row) + (0 if self.state is None else len(self.state.history))


def state_of(space: Space, job_id: bytes) -> StateRow | None:
    """What is remembered of a job beside its record."""
    row = space.read(STATES, job_id)
    return None if row is None else unpack_state(job_id, row)


def known(state: StateRow | None) -> StateRow:
    """`state`, or an empty one."""
    return state if state is not None else NO_STATE


def put_state(space: Space, job_id: bytes, state: StateRow) -> None:
    """Remembers `state` of a job."""
    space.put(STATES, job_id, pack_state(job_id, state))


def noted(space: Space, job_id: bytes, kind: int) -> Any:
    """A note of a job: its progress and log, or its checkpoint; None if it has none."""
    key = note_key(job_id, kind)
    row = space.read(NOTES, key)
    return None if row is None else opened_map(key, row)


def _notes(space: Space, job_id: bytes, state: StateRow | None, full: bool) -> dict[str, Any]:
    """What a job's info shows of its notes; in a listing (not `full`) the progress alone."""
    if state is None or not state.flags & HAS_NOTES:
        return {}
    notes: dict[str, Any] = noted(space, job_id, NOTED) or {}
    if not full:
        return {"progress": notes.get("progress")}
    return {**notes, "checkpoint": noted(space, job_id, CHECKPOINT)}


def _notes_bytes(notes: dict[str, Any]) -> int:
    return len(notes.get("checkpoint") or b"") + sum(map(len, notes.get("log") or ()))


def read_job(core: Core, place: bytes) -> bytes | None:
    """The record in a place, checked; a damaged one is set aside and no longer counted."""
    space = core.space_of(place)
    row = space.get(JOBS, place)
    if row is None or intact(place, row):
        return row
    lane = space.lanes.get(place[:5])
    if lane is None or place in space.leases.places:
        space.set_aside(JOBS, place, row)
    else:
        lanes.forget(space, lane, place)
        lanes.lose(space, lane, place, row)
    return None


def find_live(core: Core, job_id: bytes) -> Live | None:
    """An unfinished job by its id, or None."""
    space = core.space_of(job_id)
    lease = space.leases.by_id.get(job_id)
    if lease is not None:
        row = read_job(core, lease.place)
        state = state_of(space, job_id)
        return None if row is None else Live(lease.queue, job_id, lease.place, row, state, lease)
    place, state = job_id, None
    row = read_job(core, job_id)
    if row is None or row[4] & (MOVED | HAS_STATE):
        state = state_of(space, job_id)
        if state is not None and state.where != IN_JOBS:
            return None
        if state is not None:
            place = state.place
            row = read_job(core, place)
        elif row is not None and row[4] & MOVED:
            return None
    queue = core.by_line.get(int.from_bytes(place[:4], "big"))
    if row is None or queue is None:
        return None
    return Live(queue, job_id, place, row, state, None)


def show(core: Core, job_id: bytes) -> dict[str, object]:
    """The info of a job, unfinished or kept. Raises `JobNotFound`."""
    live = find_live(core, job_id)
    if live is not None:
        return show_live(core, live)
    space = core.space_of(job_id)
    state = state_of(space, job_id)
    if state is not None and state.where in (IN_DEAD, IN_FINISHED):
        table = DEAD if state.where == IN_DEAD else FINISHED
        row = space.read(table, state.place)
        queue = core.by_number.get(int.from_bytes(state.place[:4], "big"))
        if row is not None and queue is not None:
            return show_ended(core, queue, opened_map(state.place, row))
    raise JobNotFound(
        "there is no job of that id: it never existed, or it ended and is not kept",
        details={"id": job_id},
    )


SHOWN_BYTES = 4_096
"""About how much memory the info of a job or queue takes beside its body, history and notes."""


def show_live(core: Core, live: Live, body: bool = True, full: bool = True) -> dict[str, object]:
    """The info of an unfinished job; without log and checkpoint if not `full`."""
    notes = _notes(live.queue.space, live.id, live.state, full)
    core.bulk_bytes += SHOWN_BYTES + live.shown_bytes + _notes_bytes(notes)
    record = unpack_record(live.row)
    ready_at_ms = ready_at_of(live.place)
    shown = "leased" if live.lease else waiting_state(record.flags, ready_at_ms, core.now)
    return job_info(
        live.queue,
        live.id,
        record,
        shown_state=shown,
        priority=priority_of(live.place),
        ready_at_ms=ready_at_ms,
        state=live.state,
        lease=live.lease,
        now=core.now,
        body=body,
        notes=notes,
    )


def show_ended(
    core: Core, queue: Queue, entry: dict[str, Any], body: bool = True, full: bool = True
) -> dict[str, object]:
    """The info of a dead or finished job, from its entry; see `show_live`."""
    row_of_state, result = entry["state"], entry.get("result")
    state = parse_state(row_of_state) if row_of_state else None
    notes = _notes(queue.space, entry["id"], state, full)
    core.bulk_bytes += SHOWN_BYTES + len(entry["record"]) + len(row_of_state) + _notes_bytes(notes)
    core.bulk_bytes += len(result or b"")
    return job_info(
        queue,
        entry["id"],
        unpack_record(b"\0\0\0\0" + entry["record"]),
        shown_state=entry.get("end", "dead"),
        priority=entry["priority"],
        ready_at_ms=ready_at_of(entry["id"]),
        state=state,
        lease=None,
        now=core.now,
        result=result,
        ended_at_ms=entry.get("died_at_ms") or entry.get("ended_at_ms"),
        reason=entry.get("reason"),
        body=body,
        notes=notes,
    )
