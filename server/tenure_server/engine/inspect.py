"""Looking at jobs and calling them off: get, peek, cancel."""

from __future__ import annotations

from typing import Any

from tenure_protocol.errors import BadRequest, BrokerError, JobNotFound
from tenure_protocol.limits import PAGE_ITEMS_MAX
from tenure_server.engine import dead
from tenure_server.engine.core import Core
from tenure_server.engine.ending import finish
from tenure_server.engine.fields import (
    args_list,
    args_map,
    flag,
    item,
    items,
    job_id,
    text,
    whole_or,
)
from tenure_server.engine.finding import (
    Live,
    find_live,
    known,
    put_state,
    show,
    show_ended,
    show_live,
    state_of,
)
from tenure_server.engine.jobs import leave_line
from tenure_server.engine.lease_rows import mark_special
from tenure_server.engine.queues import Queue
from tenure_server.engine.types import Session
from tenure_server.engine.views import waiting_state
from tenure_storage.keys import ended_key, ready_at_of, slot_key
from tenure_storage.layout import CANCEL_ASKED, HAS_STATE, intact, pack_record, unpack_record
from tenure_storage.store import FINISHED, JOBS

WAITING_STATES = ("ready", "scheduled", "retrying")
FINISHED_STATES = ("succeeded", "cancelled", "expired")
STATES = (*WAITING_STATES, "leased", "dead", *FINISHED_STATES)
"""The states that can be peeked at."""

SCAN_ROWS_MAX = 2_000
"""The most rows one page looks at."""


def get(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """get [id] -> job info."""
    job = job_id(item(args_list("get", raw), 0))
    core.instant = core.space_of(job).volatile
    return show(core, job)


# ---- cancel ------------------------------------------------------------------------------


def cancel(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """cancel [[id, ...]] -> outcomes: a waiting job ends, a leased one is asked to."""
    ids = items(item(args_list("cancel", raw), 0), "ids", core.limits.jobs_per_request_max)
    outcomes: list[object] = []
    for value in ids:
        try:
            outcomes.append([0, _cancel(core, job_id(value))])
        except BrokerError as error:
            outcomes.append([1, *error.to_wire()])
    return outcomes


def _cancel(core: Core, job: bytes) -> dict[str, object]:
    live = find_live(core, job)
    if live is None:
        raise JobNotFound("there is no unfinished job of that id", details={"id": job})
    if live.lease is None:
        leave_line(core, live.queue, live.place, live.row)
        live.queue.totals.cancelled += 1
        finish(core, live, "cancelled", known(live.state), reason="cancelled")
        return {"state": "cancelled"}
    state = known(live.state)
    mark_special(live.lease)
    put_state(
        live.queue.space,
        job,
        state._replace(
            place=live.place,
            attempt=max(state.attempt, live.lease.attempt - 1),
            flags=state.flags | CANCEL_ASKED,
        ),
    )
    record = unpack_record(live.row)
    if not record.flags & HAS_STATE:
        row = pack_record(live.place, record._replace(flags=record.flags | HAS_STATE))
        live.queue.space.put(JOBS, live.place, row)
    return {"state": "leased", "asked": True}


# ---- peek --------------------------------------------------------------------------------


def peek(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """peek {queue, state, limit, cursor, bodies} -> {jobs, cursor}; bounded work a page."""
    args = args_map("peek", raw)
    queue = core.queue_named(text(args.get("queue"), "queue"))
    state = args.get("state")
    limit = whole_or(args.get("limit"), "limit", 1, PAGE_ITEMS_MAX, 100)
    body = flag(args.get("bodies"), "bodies", True)
    cursor = args.get("cursor")
    core.instant = queue.space.volatile
    if state in WAITING_STATES:
        return _peek_waiting(core, queue, str(state), limit, cursor, body)
    if state == "leased":
        return _peek_leased(core, queue, limit, cursor, body)
    if state == "dead":
        return dead.page(core, queue, cursor, limit, dead.read_filter(None), body)
    if state in FINISHED_STATES:
        return _peek_finished(core, queue, str(state), limit, cursor, body)
    raise BadRequest(f"state must be one of {', '.join(STATES)}")


def _peek_waiting(
    core: Core, queue: Queue, state: str, limit: int, cursor: object, body: bool
) -> dict[str, object]:
    line = queue.line.to_bytes(4, "big")
    first, last = line, line + b"\xff" * 12
    after = dead.read_cursor(cursor, first, last)
    jobs: list[object] = []
    looked, size = 0, 0
    while looked < SCAN_ROWS_MAX:
        rows, following = queue.space.scan(
            JOBS, after, last, SCAN_ROWS_MAX, core.limits.reply_bytes_max
        )
        for key, row in rows:
            looked += 1
            after = key
            shown = waiting_state(row[4], ready_at_of(key), core.now)
            if key in queue.space.leases.places or shown != state or not intact(key, row):
                continue
            live = _live(queue, key, row)
            jobs.append(show_live(core, live, body, full=False))
            size += live.shown_bytes
            if len(jobs) >= limit or size >= core.limits.reply_bytes_max:
                return {"jobs": jobs, "cursor": after}
        if following is None:
            return {"jobs": jobs, "cursor": None}
        after = following
    return {"jobs": jobs, "cursor": after}


def _live(queue: Queue, key: bytes, row: bytes) -> Live:
    record = unpack_record(row)
    job = record.id or key
    state = state_of(queue.space, job) if record.flags & HAS_STATE else None
    return Live(queue, job, key, row, state, None)


def _peek_leased(
    core: Core, queue: Queue, limit: int, cursor: object, body: bool
) -> dict[str, object]:
    leases = queue.space.leases
    slot, seen = 0, b""
    if cursor is not None:
        if type(cursor) is not bytes or len(cursor) not in (4, 20):
            raise BadRequest("the cursor is not from this listing")
        slot, seen = int.from_bytes(cursor[:4], "big"), cursor[4:]
    jobs: list[object] = []
    looked, size = 0, 0
    while slot < len(leases.slots) and looked < SCAN_ROWS_MAX:
        for lease in leases.in_slot(slot):
            looked += 1
            if lease.queue is not queue or lease.id <= seen:
                continue
            live = find_live(core, lease.id)
            if live is not None:
                jobs.append(show_live(core, live, body, full=False))
                size += live.shown_bytes
            if len(jobs) >= limit or size >= core.limits.reply_bytes_max:
                return {"jobs": jobs, "cursor": slot_key(slot) + lease.id}
        looked += 1
        slot, seen = slot + 1, b""
    return {"jobs": jobs, "cursor": slot_key(slot) if slot < len(leases.slots) else None}


def _peek_finished(
    core: Core, queue: Queue, state: str, limit: int, cursor: object, body: bool
) -> dict[str, object]:
    first, last = (
        queue.number.to_bytes(4, "big"),
        ended_key(queue.number, (1 << 48) - 1, (1 << 40) - 1),
    )
    after = dead.read_cursor(cursor, first, last)
    jobs: list[object] = []
    looked, size = 0, 0
    while looked < SCAN_ROWS_MAX:
        rows, following = queue.space.scan(
            FINISHED, after, last, SCAN_ROWS_MAX, core.limits.reply_bytes_max
        )
        for key, row in rows:
            looked += 1
            after = key
            entry: Any = dead.opened_entry(core, FINISHED, key, row, queue)
            if entry is None or entry["end"] != state:
                continue
            jobs.append(show_ended(core, queue, entry, body, full=False))
            size += len(row)
            if len(jobs) >= limit or size >= core.limits.reply_bytes_max:
                return {"jobs": jobs, "cursor": after}
        if following is None:
            return {"jobs": jobs, "cursor": None}
        after = following
    return {"jobs": jobs, "cursor": after}
