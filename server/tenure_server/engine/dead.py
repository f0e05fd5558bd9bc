"""The dead-letter queue: jobs whose attempts are used up, with everything that is known of them."""

from __future__ import annotations

from typing import Any, NamedTuple

from tenure_protocol.errors import BadRequest, BrokerError, JobNotFound
from tenure_protocol.limits import (
    ERROR_TYPE_CHARS_MAX,
    PAGE_ITEMS_MAX,
    TASK_BYTES_MAX,
    TIME_MS_MAX,
)
from tenure_server.engine import chores
from tenure_server.engine.core import Core
from tenure_server.engine.ending import forget
from tenure_server.engine.fields import (
    args_map,
    flag,
    items,
    job_id,
    number_or_none,
    text,
    text_or_none,
    whole_or,
)
from tenure_server.engine.finding import find_live, show_ended, state_of
from tenure_server.engine.jobs import move
from tenure_server.engine.queues import DEAD as DEAD_TALLY
from tenure_server.engine.queues import Queue
from tenure_server.engine.types import Session
from tenure_storage.keys import ended_key, unique_key
from tenure_storage.layout import (
    HAS_DUE,
    HAS_NOTES,
    HAS_UNIQUE,
    IN_DEAD,
    Damaged,
    Record,
    extras_of,
    opened_map,
    parse_state,
    sealed,
    unpack_record,
)
from tenure_storage.store import DEAD, UNIQUE

SCAN_ROWS_MAX = 2_000
"""The most dead jobs one page looks at."""

GROUP_ROWS_MAX = 20_000
"""The most dead jobs `dlq.groups` looks at."""

GROUPS_MAX = 1_000
"""The most groups `dlq.groups` tells apart."""

RATE_MAX = 1_000_000.0
"""The highest rate of a replay, in jobs per second."""


class Filter(NamedTuple):
    """Which dead jobs are meant. Patterns match exactly, or as a prefix when they end in `*`."""

    error_type: str | None
    task: str | None
    older_than_ms: int | None
    newer_than_ms: int | None

    def matches(self, entry: dict[str, Any], now_ms: int) -> bool:
        """Whether an entry is meant, at `now_ms`."""
        age_ms = now_ms - entry["died_at_ms"]
        return (
            (self.older_than_ms is None or age_ms >= self.older_than_ms)
            and (self.newer_than_ms is None or age_ms <= self.newer_than_ms)
            and _like(self.error_type, entry["error_type"])
            and _like(self.task, entry["task"])
        )


def _like(pattern: str | None, value: str) -> bool:
    if pattern is None:
        return True
    return value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern


def read_filter(value: object) -> Filter:
    """A checked filter. No pattern is longer than what it could match."""
    fields = args_map("a filter", value)
    older, newer = fields.get("older_than_ms"), fields.get("newer_than_ms")
    error_type = text_or_none(fields.get("error_type"), "error_type")
    task = text_or_none(fields.get("task"), "task")
    if error_type is not None:
        length = len(error_type.removesuffix("*"))
        _check_length("error_type", length, ERROR_TYPE_CHARS_MAX, "characters")
    if task is not None:
        _check_length("task", len(task.removesuffix("*").encode()), TASK_BYTES_MAX, "bytes")
    return Filter(
        error_type,
        task,
        None if older is None else whole_or(older, "older_than_ms", 0, TIME_MS_MAX, 0),
        None if newer is None else whole_or(newer, "newer_than_ms", 0, TIME_MS_MAX, 0),
    )


def _check_length(name: str, length: int, most: int, unit: str) -> None:
    if length > most:
        raise BadRequest(
            f"the {name} of a filter has {length} {unit}; the limit is {most}",
            details={"field": name, "limit": most},
        )


def bounds(number: int, until_ms: int = TIME_MS_MAX) -> tuple[bytes, bytes]:
    """The keys before and after all entries of a queue that died until then."""
    return number.to_bytes(4, "big"), ended_key(number, until_ms, (1 << 40) - 1)


def opened_entry(core: Core, table: int, key: bytes, row: bytes, queue: Queue) -> Any:
    """The entry in a row, or None for a damaged one, which is set aside."""
    try:
        return opened_map(key, row)
    except Damaged:
        queue.space.set_aside(table, key, row)
        core.tally(queue, DEAD_TALLY if table == DEAD else key[-1], -1)
        return None


# ---- listing -----------------------------------------------------------------------------


def list_dead(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """dlq.list {queue, limit, cursor, filter fields, bodies} -> {jobs, cursor}, oldest first."""
    args = args_map("dlq.list", raw)
    queue = core.queue_named(text(args.get("queue"), "queue"))
    limit = whole_or(args.get("limit"), "limit", 1, PAGE_ITEMS_MAX, 100)
    body = flag(args.get("bodies"), "bodies", True)
    return page(core, queue, args.get("cursor"), limit, read_filter(args), body)


def page(
    core: Core, queue: Queue, cursor: object, limit: int, wanted: Filter, body: bool
) -> dict[str, object]:
    """One page of dead jobs; bounded work, so it may be short and still have a cursor."""
    first, last = bounds(queue.number)
    after = read_cursor(cursor, first, last)
    jobs: list[object] = []
    looked, size = 0, 0
    while len(jobs) < limit and looked < SCAN_ROWS_MAX and size < core.limits.reply_bytes_max:
        rows, following = queue.space.scan(DEAD, after, last, limit, core.limits.reply_bytes_max)
        for key, row in rows:
            looked += 1
            after = key
            entry = opened_entry(core, DEAD, key, row, queue)
            if entry is not None and wanted.matches(entry, core.now.wall_ms):
                jobs.append(show_ended(core, queue, entry, body, full=False))
                size += len(row)
                if len(jobs) >= limit or size >= core.limits.reply_bytes_max:
                    return {"jobs": jobs, "cursor": after}
        if following is None:
            return {"jobs": jobs, "cursor": None}
        after = following
    return {"jobs": jobs, "cursor": after}


def read_cursor(cursor: object, first: bytes, last: bytes) -> bytes:
    """A cursor that a page of this listing gave out, or the beginning."""
    if cursor is None:
        return first
    if type(cursor) is not bytes or not first <= cursor <= last:
        raise BadRequest("the cursor is not from this listing")
    return cursor


def groups(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """dlq.groups {queue} -> {groups, complete}: by task, error type and reason."""
    queue = core.queue_named(text(args_map("dlq.groups", raw).get("queue"), "queue"))
    after, last = bounds(queue.number)
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    looked = 0
    while looked < GROUP_ROWS_MAX:
        rows, following = queue.space.scan(DEAD, after, last, 1_000)
        for key, row in rows:
            looked += 1
            entry = opened_entry(core, DEAD, key, row, queue)
            if entry is not None:
                _count_group(found, entry)
        if following is None:
            return {"groups": _sorted_groups(found), "complete": True}
        after = following
    return {"groups": _sorted_groups(found), "complete": False}


def _count_group(found: dict[tuple[str, str, str], dict[str, Any]], entry: Any) -> None:
    name = (entry["task"], entry["error_type"], entry["reason"])
    if name not in found and len(found) >= GROUPS_MAX:
        name = ("", "(others)", "")
    group = found.setdefault(
        name,
        {
            "task": name[0],
            "error_type": name[1],
            "reason": name[2],
            "count": 0,
            "first_at_ms": entry["died_at_ms"],
            "last_at_ms": entry["died_at_ms"],
            "example": entry["id"],
        },
    )
    group["count"] += 1
    group["last_at_ms"] = entry["died_at_ms"]


def _sorted_groups(found: dict[tuple[str, str, str], dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(found.values(), key=lambda group: (-group["count"], group["task"]))


# ---- replaying and purging ---------------------------------------------------------------


def replay(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """dlq.replay {queue, ids} -> {outcomes}, or {queue, filter, limit, rate} -> {chore}."""
    return _by_ids_or_filter(core, "dlq.replay", raw, "replay")


def purge(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """dlq.purge {queue, ids} -> {outcomes}, or {queue, filter} -> {chore}."""
    return _by_ids_or_filter(core, "dlq.purge", raw, "purge_dead")


def _by_ids_or_filter(core: Core, op: str, raw: object, kind: str) -> object:
    args = args_map(op, raw)
    queue = core.queue_named(text(args.get("queue"), "queue"))
    if (args.get("ids") is None) == (args.get("filter") is None):
        raise BadRequest(f"{op} takes ids or a filter (an empty one means all), and not both")
    if args.get("ids") is not None:
        ids = [job_id(one) for one in items(args["ids"], "ids", core.limits.jobs_per_request_max)]
        return {"outcomes": [_outcome(core, queue, one, kind) for one in ids]}
    wanted = read_filter(args.get("filter"))
    limit, rate = args.get("limit"), number_or_none(args.get("rate"), "rate", 0.001, RATE_MAX)
    limit = None if limit is None else whole_or(limit, "limit", 1, 1 << 53, 0)
    chores.check_room(core)
    chore = chores.start(core, queue, kind, filter=wanted._asdict(), limit=limit, rate=rate)
    return {"chore": chore.number}


def _outcome(core: Core, queue: Queue, one: bytes, kind: str) -> object:
    try:
        state = state_of(queue.space, one)
        row = None
        if state is not None and state.where == IN_DEAD and _of(queue, state.place):
            row = queue.space.read(DEAD, state.place)
        if state is None or row is None:
            raise JobNotFound(
                f"no dead job of that id is in queue {queue.name!r}", details={"id": one}
            )
        entry = opened_map(state.place, row)
        if kind == "replay":
            replay_one(core, queue, state.place, entry)
        else:
            purge_one(core, queue, state.place, entry)
    except BrokerError as error:
        return [1, *error.to_wire()]
    return 0


def _of(queue: Queue, key: bytes) -> bool:
    return int.from_bytes(key[:4], "big") == queue.number


def replay_one(core: Core, queue: Queue, key: bytes, entry: dict[str, Any]) -> None:
    """A dead job goes back in line, with its id and history; its counters start again.

    Raises `BadRequest` when another job holds its unique name.
    """
    record: Record = unpack_record(b"\0\0\0\0" + entry["record"])
    if record.flags & HAS_UNIQUE:
        _take_unique(core, queue, entry["id"], extras_of(record)["unique"])
    # Its expiry was for the first start, which it had.
    record = record._replace(flags=record.flags & ~HAS_DUE, expires_at_ms=0)
    state = parse_state(entry["state"])
    queue.space.put(DEAD, key, None)
    core.tally(queue, DEAD_TALLY, -1)
    move(
        core,
        queue,
        entry["id"],
        None,
        record,
        state._replace(failures=0, timeouts=0, lost=0, released=0, flags=state.flags & HAS_NOTES),
        priority=entry["priority"],
        ready_at_ms=core.now.wall_ms,
        retrying=False,
    )


def _take_unique(core: Core, queue: Queue, job: bytes, name: str) -> None:
    key = unique_key(queue.number, name)
    row = queue.space.read(UNIQUE, key)
    holder = find_live(core, row[4:]) if row is not None else None
    if holder is not None and holder.queue is queue and holder.id != job:
        raise BadRequest(
            f"its unique name {name!r} is held by another unfinished job",
            details={"id": job, "holder": holder.id},
        )
    queue.space.put(UNIQUE, key, sealed(key, job))


def purge_one(core: Core, queue: Queue, key: bytes, entry: dict[str, Any]) -> None:
    """A dead job goes for good."""
    queue.space.put(DEAD, key, None)
    forget(queue.space, entry)
    core.tally(queue, DEAD_TALLY, -1)
