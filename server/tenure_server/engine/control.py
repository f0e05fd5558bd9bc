"""Queues as a whole: created, configured, listed, paused, purged, deleted."""

from __future__ import annotations

from collections.abc import Iterator

from tenure_protocol.errors import (
    BadRequest,
    QueueExists,
    QueueNotEmpty,
    QueueNotFound,
    TooManyQueues,
)
from tenure_protocol.limits import PAGE_ITEMS_MAX
from tenure_protocol.names import check_queue_name
from tenure_server.engine import lanes
from tenure_server.engine.chores import start_sweep_line, start_sweep_queue
from tenure_server.engine.core import Core
from tenure_server.engine.fields import args_map, flag, text, text_or_none, whole_or
from tenure_server.engine.finding import SHOWN_BYTES
from tenure_server.engine.queues import (
    Queue,
    Settings,
    change_settings,
    settings_to_wire,
)
from tenure_server.engine.types import Session
from tenure_server.engine.waiting import answer_dropped
from tenure_storage.keys import queue_key
from tenure_storage.layout import sealed_map
from tenure_storage.store import LANES, META, QUEUES


def tally_key(number: int) -> bytes:
    """The key of the row that counts a queue's dead and finished jobs."""
    return b"tally:" + number.to_bytes(4, "big")


# ---- coming to be ------------------------------------------------------------------------


def queue_for(core: Core, name: object) -> Queue:
    """The queue to enqueue to; a new one is not registered yet, so a refusal leaves no trace."""
    queue = core.queues.get(name) if isinstance(name, str) else None
    if queue is not None:
        return queue
    checked = check_queue_name(name)
    if not core.limits.auto_create_queues:
        raise QueueNotFound(
            f"there is no queue {checked!r}, and this broker does not create queues by itself",
            details={"queue": checked},
        )
    return _new_queue(core, checked, core.defaults)


def _new_queue(core: Core, name: str, settings: Settings) -> Queue:
    if len(core.queues) >= core.limits.queues_max:
        raise TooManyQueues(f"the broker has {len(core.queues)} queues, which is its limit")
    volatile = settings.durability == "memory"
    number = core.next_queue_number
    space = core.memory if volatile else core.disk
    return Queue(name, number, core.new_line(volatile), settings, space, core.now.wall_ms)


def register(core: Core, queue: Queue) -> None:
    """Makes a new queue known and durable; nothing for one that is known."""
    if queue.number in core.by_number:
        return
    core.next_queue_number = queue.number + 1
    core.queues[queue.name] = queue
    core.by_number[queue.number] = queue
    core.by_line[queue.line] = queue
    save_queue(core, queue)
    core.event("info", "queue_created", queue=queue.name, durability=queue.settings.durability)


def save_queue(core: Core, queue: Queue) -> None:
    """Writes a queue's row. That of a memory queue is on disk too: the queue stays, empty."""
    key = queue_key(queue.number, queue.name)
    value = {
        "line": queue.line,
        "created_at_ms": queue.created_at_ms,
        "settings": settings_to_wire(queue.settings),
    }
    core.disk.put(QUEUES, key, sealed_map(key, value))


# ---- operations --------------------------------------------------------------------------


def create(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.create {queue, settings} -> queue info."""
    args = args_map("queue.create", raw)
    name = check_queue_name(args.get("queue"))
    changes = _changes(args.get("settings"))
    settings = change_settings(core.defaults, changes)
    queue = core.queues.get(name)
    if queue is None:
        queue = _new_queue(core, name, settings)
        register(core, queue)
        core.hot[name] = None
    elif queue.settings != settings:
        raise QueueExists(
            f"queue {name!r} exists with other settings; use queue.configure to change them",
            details={"queue": name},
        )
    return queue_info(core, queue)


def _changes(value: object) -> dict[object, object]:
    if value is None:
        return {}
    if type(value) is not dict:
        raise BadRequest("settings must be a map")
    return value


def configure(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.configure {queue, settings} -> queue info."""
    args = args_map("queue.configure", raw)
    queue = core.queue_named(text(args.get("queue"), "queue"))
    settings = change_settings(queue.settings, _changes(args.get("settings")))
    if settings.durability != queue.settings.durability:
        raise BadRequest("the durability of a queue cannot change; create another queue")
    _apply(core, queue, settings)
    return queue_info(core, queue)


def _apply(core: Core, queue: Queue, settings: Settings) -> None:
    queue.settings = settings
    queue.next_forget_ms = core.next_forget_ms = 0
    save_queue(core, queue)
    core.hot[queue.name] = None


def pause(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.pause {queue}: nothing is delivered until it is resumed."""
    return _set_paused(core, raw, "queue.pause", True)


def resume(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.resume {queue}."""
    return _set_paused(core, raw, "queue.resume", False)


def _set_paused(core: Core, raw: object, op: str, paused: bool) -> object:
    queue = core.queue_named(text(args_map(op, raw).get("queue"), "queue"))
    _apply(core, queue, change_settings(queue.settings, {"paused": paused}))
    core.event("info", "queue_paused" if paused else "queue_resumed", queue=queue.name)
    return queue_info(core, queue)


def list_queues(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.list {prefix, limit, cursor} -> {queues, cursor}, by name."""
    args = args_map("queue.list", raw)
    prefix = text_or_none(args.get("prefix"), "prefix") or ""
    after = text_or_none(args.get("cursor"), "cursor") or ""
    limit = whole_or(args.get("limit"), "limit", 1, PAGE_ITEMS_MAX, PAGE_ITEMS_MAX)
    names = sorted(n for n in core.queues if n.startswith(prefix) and n > after)
    page = names[:limit]
    cursor = page[-1] if len(names) > limit else None
    core.bulk_bytes += SHOWN_BYTES * len(page)
    return {"queues": [queue_info(core, core.queues[n]) for n in page], "cursor": cursor}


def get(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.get {queue} -> queue info."""
    return queue_info(
        core, core.queue_named(text(args_map("queue.get", raw).get("queue"), "queue"))
    )


def purge(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.purge {queue} -> {purged}: waiting jobs go at once; a sweep follows behind."""
    queue = core.queue_named(text(args_map("queue.purge", raw).get("queue"), "queue"))
    purged = queue.waiting
    _abandon_line(core, queue)
    queue.line = core.new_line(queue.space.volatile)
    core.by_line[queue.line] = queue
    save_queue(core, queue)
    answer_dropped(core, queue)
    core.event("warning", "queue_purged", queue=queue.name, jobs=purged)
    return {"purged": purged}


def _abandon_line(core: Core, queue: Queue) -> None:
    """The line's lanes and counts go at once; its jobs are swept in slices."""
    space = queue.space
    for lane in queue.order:
        lanes.drop(space, lane)
        lane.retired = True
        space.lanes.pop(lane.key, None)
        space.dirty_lanes.pop(lane.key, None)
        space.put(LANES, lane.key, None)
    queue.lanes, queue.order = {}, []
    del core.by_line[queue.line]
    core.retired[queue.line] = queue
    start_sweep_line(core, queue)


def delete(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """queue.delete {queue, force} -> {deleted, jobs}."""
    args = args_map("queue.delete", raw)
    queue = core.queue_named(text(args.get("queue"), "queue"))
    held = queue.jobs + queue.tally[0]
    if held and not flag(args.get("force"), "force", False):
        raise QueueNotEmpty(
            f"queue {queue.name!r} holds {queue.waiting} waiting, {queue.leased} leased and "
            f"{queue.tally[0]} dead jobs; purge it first, or delete it with force",
            details={"queue": queue.name, "jobs": held},
        )
    _drop_leases(core, queue)
    _abandon_line(core, queue)
    core.retired[queue.line] = None
    start_sweep_queue(core, queue)
    del core.queues[queue.name]
    del core.by_number[queue.number]
    core.changed_tallies.pop(queue.number, None)
    core.disk.put(META, tally_key(queue.number), None)
    core.disk.put(QUEUES, queue_key(queue.number, queue.name), None)
    answer_dropped(core, queue)
    core.event("warning", "queue_deleted", queue=queue.name, jobs=held)
    return {"deleted": True, "jobs": held}


def _drop_leases(core: Core, queue: Queue) -> None:
    from tenure_server.engine.jobs import end_lease

    for lease in [lease for lease in queue.space.leases.by_id.values() if lease.queue is queue]:
        end_lease(core, lease)


# ---- showing -----------------------------------------------------------------------------


def queue_info(core: Core, queue: Queue) -> dict[str, object]:
    """Everything known of a queue, as it travels."""
    now, space = core.now, queue.space
    places = space.leases.places
    for lane in queue.order:
        lanes.mature(space, lane, now.wall_ms, places)
    waiting = queue.waiting
    beyond = sum(lane.beyond for lane in queue.order)
    retrying = sum(lane.retrying for lane in queue.order)
    dead, succeeded, cancelled, expired = queue.tally
    ended = queue.ended_rate.read(now.mono_ms)
    ready = waiting - beyond
    return {
        "name": queue.name,
        "settings": settings_to_wire(queue.settings),
        "created_at_ms": queue.created_at_ms,
        "counts": {
            "ready": ready,
            "scheduled": beyond - retrying,
            "retrying": retrying,
            "leased": queue.leased,
            "dead": dead,
            "succeeded": succeeded,
            "cancelled": cancelled,
            "expired": expired,
        },
        "jobs": waiting + queue.leased,
        "bytes": queue.bytes,
        "oldest_ready_age_ms": _oldest_age_ms(core, queue),
        "waiting_reserves": len(core.reserves.get(queue.name, ())),
        "rates": {
            "enqueued": round(queue.enqueued_rate.read(now.mono_ms), 3),
            "leased": round(queue.leased_rate.read(now.mono_ms), 3),
            "ended": round(ended, 3),
        },
        "backlog_seconds": round(ready / ended, 1) if ended >= 0.01 else (None if ready else 0.0),
        "totals": queue.totals.to_wire(),
    }


def _oldest_age_ms(core: Core, queue: Queue) -> int | None:
    oldest: int | None = None
    for lane in queue.order:
        if lane.waiting == 0:
            continue
        first = lanes.next_ready_ms(queue.space, lane, queue.space.leases.places, core.refill_bytes)
        if first is not None and first <= core.now.wall_ms:
            oldest = first if oldest is None else min(oldest, first)
    return None if oldest is None else core.now.wall_ms - oldest


def queue_infos(core: Core) -> Iterator[dict[str, object]]:
    """Every queue's info, by name."""
    for name in sorted(core.queues):
        yield queue_info(core, core.queues[name])
