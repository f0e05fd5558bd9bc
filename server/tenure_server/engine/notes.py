"""What running jobs want known: how far they are, the last lines of their log, a checkpoint.

Notes are rows of their own beside the job's state row, whose flag tells of them: they stay
with the job through retries, moves, restarts and replays, and go when it goes. Progress and
log change often and are short; the checkpoint is long, so it is not written with them.
"""

from __future__ import annotations

import math
from typing import Any

from tenure_protocol import limits
from tenure_protocol.errors import BadRequest, PayloadTooLarge, StoreFull
from tenure_server.engine.core import Core
from tenure_server.engine.fields import args_map, item, text
from tenure_server.engine.finding import Live, known, noted, put_state, state_of
from tenure_server.engine.lease_rows import mark_special
from tenure_server.engine.leases import Lease
from tenure_server.engine.settle import cut, each, taken
from tenure_server.engine.types import Session
from tenure_storage.keys import CHECKPOINT, NOTED, note_key
from tenure_storage.layout import (
    HAS_NOTES,
    HAS_STATE,
    pack_record,
    sealed_map,
    unpack_record,
)
from tenure_storage.store import JOBS, NOTES


def note(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """[[id, attempt, {checkpoint, progress, log}], ...] -> outcomes: durable, for `get`."""
    return each(core, "note", raw, _note)


def _note(core: Core, lease: Lease, entry: list[object]) -> object:
    given = args_map("note", item(entry, 2))
    checkpoint = _checkpoint(given.get("checkpoint"))
    progress = _progress(core, given.get("progress"))
    lines = _lines(given.get("log"))
    if checkpoint is None and progress is None and not lines:
        return 0
    space = lease.queue.space
    if core.store_full and not space.volatile:
        raise StoreFull("the store is full: nothing was noted. Acks and fails still work")
    state = known(state_of(space, lease.id))
    if lease.plain or not state.flags & HAS_NOTES:
        _tell_of_notes(core, taken(core, lease))
    if checkpoint is not None:
        key = note_key(lease.id, CHECKPOINT)
        space.put(NOTES, key, sealed_map(key, checkpoint))
    if progress is not None or lines:
        notes: dict[str, Any] = noted(space, lease.id, NOTED) or {}
        if progress is not None:
            notes["progress"] = progress
        notes["log"] = [*notes.get("log", ()), *lines][-limits.LOG_LINES_KEPT :]
        key = note_key(lease.id, NOTED)
        space.put(NOTES, key, sealed_map(key, notes))
    return 0


def _tell_of_notes(core: Core, live: Live) -> None:
    """The state row tells of the notes, and the record of the state row."""
    queue, lease, place = live.queue, live.lease, live.place
    assert lease is not None
    space = queue.space
    mark_special(lease)
    state = known(live.state)
    put_state(
        space,
        live.id,
        state._replace(
            place=place,
            attempt=max(state.attempt, lease.attempt - 1),
            flags=state.flags | HAS_NOTES,
        ),
    )
    record = unpack_record(live.row)
    if record.flags & HAS_STATE:
        return
    row = pack_record(place, record._replace(flags=record.flags | HAS_STATE))
    if int.from_bytes(place[:4], "big") == queue.line:
        # As a job of its lane, so that it is met there if it is given back before this batch
        # is announced.
        space.put_jobs(queue.lane(place[4]), [place], [row])
    else:
        space.put(JOBS, place, row)


def _checkpoint(value: object) -> bytes | None:
    if value is None:
        return None
    if type(value) is not bytes:
        raise BadRequest("a checkpoint must be bytes (msgpack bin) or nil")
    most = limits.CHECKPOINT_BYTES_MAX
    if len(value) > most:
        raise PayloadTooLarge(
            f"the checkpoint has {len(value)} bytes; the limit is {most}",
            details={"bytes": len(value), "limit": most},
        )
    return value


def _progress(core: Core, value: object) -> list[object] | None:
    if value is None:
        return None
    if type(value) is not list or not value:
        raise BadRequest("progress must be [n, total, message]")
    total = item(value, 1)
    message = item(value, 2)
    return [
        _number(value[0], "n"),
        None if total is None else _number(total, "total"),
        None if message is None else cut(message, "message", limits.PROGRESS_MESSAGE_CHARS_MAX),
        core.now.wall_ms,
    ]


def _number(value: object, name: str) -> int | float:
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return value
    raise BadRequest(f"{name} of a progress must be a number")


def _lines(value: object) -> list[str]:
    if value is None:
        return []
    if type(value) is not list:
        raise BadRequest("log must be an array of texts")
    lines = [text(line, "a line of the log") for line in value]
    return [line[: limits.LOG_LINE_CHARS_MAX] for line in lines[-limits.LOG_LINES_KEPT :]]
