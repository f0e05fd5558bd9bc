"""Reserve: jobs leave their line for a limited time.

A delivery leaves the broker after the commit that holds its lease. A waiting reserve may
be given a job of the batch that enqueues it: one commit for both.
"""

from __future__ import annotations

import heapq
from zlib import crc32

from tenure_protocol import limits
from tenure_protocol.errors import BadRequest, Draining, TooManyLeases
from tenure_protocol.names import check_queue_name
from tenure_server.engine import lanes
from tenure_server.engine.core import Core
from tenure_server.engine.delivery import Delivery, PlainDelivery, past_of
from tenure_server.engine.ending import finish, may_expire
from tenure_server.engine.fields import args_list, flag, item, items, whole, whole_or
from tenure_server.engine.finding import Live, known, state_of
from tenure_server.engine.jobs import expire, save_lease
from tenure_server.engine.lanes import Lane
from tenure_server.engine.leases import Bucket, Lease
from tenure_server.engine.queues import Queue
from tenure_server.engine.types import Session
from tenure_server.engine.waiting import WAITING, Reserve, hold
from tenure_storage.layout import (
    HAS_STATE,
    HEAD_BYTES,
    RETRYING,
    Record,
    StateRow,
    lease_head,
    read_head,
    unpack_record,
)
from tenure_storage.store import JOBS, LEASES

TURNS_MAX = 1_024
"""Of how many queues a session's turns are remembered."""

WEIGHT_MAX = 1_000
"""The largest weight of a queue."""


def reserve(core: Core, session: Session, request_id: int, raw: object) -> object:
    """[queues, max_jobs, wait_ms, lease_ms, auto_ack] -> jobs."""
    wanted, wait_ms = _read(core, session, request_id, raw)
    if core.draining:
        raise Draining("the broker is stopping and gives out no jobs; connect again in a moment")
    got = collect(core, wanted)
    core.instant = not got or all_volatile(core, wanted)
    if got or wait_ms == 0:
        return got
    if request_id in session.waits:
        raise BadRequest(f"request {request_id} waits already")
    hold(core, wanted, core.now.mono_ms + wait_ms)
    for name in wanted.queues:
        # Fresh jobs of this very turn, or the next due time: looked at when the turn ends.
        core.hot[name] = None
    return WAITING


def _read(core: Core, session: Session, request_id: int, raw: object) -> tuple[Reserve, int]:
    args = args_list("reserve", raw)
    queues = items(item(args, 0), "queues", limits.QUEUES_PER_RESERVE_MAX)
    names: list[str] = []
    weights: dict[str, int] = {}
    for entry in queues:
        if type(entry) is list:
            name = check_queue_name(item(entry, 0))
            weights[name] = whole(item(entry, 1), "a weight", 1, WEIGHT_MAX)
        else:
            name = check_queue_name(entry)
        names.append(name)
    if len(set(names)) != len(names):
        raise BadRequest("a queue is named twice")
    if weights and len(weights) != len(names):
        raise BadRequest("give a weight for every queue, or for none")
    max_jobs = whole_or(item(args, 1), "max_jobs", 1, core.limits.jobs_per_request_max, 1)
    wait_ms = whole_or(item(args, 2), "wait_ms", 0, limits.WAIT_MS_MAX, 0)
    lease_ms = item(args, 3)
    if lease_ms is not None:
        whole(lease_ms, "lease_ms", limits.LEASE_MS_MIN, limits.LEASE_MS_MAX)
    auto_ack = flag(item(args, 4), "auto_ack", False)
    assert lease_ms is None or isinstance(lease_ms, int)
    return (
        Reserve(session, request_id, names, weights or None, max_jobs, lease_ms, auto_ack),
        wait_ms,
    )


def all_volatile(core: Core, wanted: Reserve) -> bool:
    """Whether a reserve concerns memory queues alone, and so waits for no commit."""
    queues = [core.queues[name] for name in wanted.queues if name in core.queues]
    return bool(queues) and all(queue.space.volatile for queue in queues)


# ---- collecting --------------------------------------------------------------------------


def collect(core: Core, wanted: Reserve, fresh: bool = False) -> list[Delivery]:
    """Leases jobs for a reserve, from windows or (`fresh`) from the open batch."""
    queues = [
        queue
        for name in wanted.queues
        if (queue := core.queues.get(name)) is not None and not queue.settings.paused
    ]
    if not queues:
        return []
    room = core.limits.leases_max - len(core.disk.leases) - len(core.memory.leases)
    most = min(wanted.max_jobs, room)
    if most <= 0 and not wanted.auto_ack:
        if wanted.open and wanted.ends_ms:
            return []
        raise TooManyLeases(
            f"{core.limits.leases_max} jobs are leased, which is the broker's limit"
        )
    most = wanted.max_jobs if wanted.auto_ack else most
    out: list[Delivery] = []
    size = 0
    if wanted.weights is None or len(queues) == 1:
        for queue in queues:
            size = _collect_from(core, wanted, queue, most, out, size, fresh)
    else:
        size = _collect_by_weight(core, wanted, queues, most, out, fresh)
    core.bulk_bytes += size
    return out


def _collect_by_weight(
    core: Core,
    wanted: Reserve,
    queues: list[Queue],
    most: int,
    out: list[Delivery],
    fresh: bool,
) -> int:
    """Adds jobs of queues in turn, by stride scheduling over the session's life; their size."""
    turns, weights = wanted.session.turns, wanted.weights
    assert weights is not None
    if len(turns) > TURNS_MAX:
        turns.clear()
    floor = min((turns[q.name] for q in queues if q.name in turns), default=0.0)
    # A heap, for there may be hundreds of queues, and each of them may turn out to be dry.
    line = [(turns.setdefault(q.name, floor), at, q) for at, q in enumerate(queues)]
    heapq.heapify(line)
    last = max(turn for turn, _, _ in line)
    total = sum(weights[q.name] for q in queues)
    size = 0
    while line and len(out) < most and size < core.limits.reply_bytes_max:
        turn, at, queue = line[0]
        weight = weights[queue.name]
        before = len(out)
        share = max(1, (most - before) * weight // total)
        turn += share / weight
        last = max(last, turn)
        size = _collect_from(core, wanted, queue, before + share, out, size, fresh)
        if len(out) - before < share:
            # Turns are not saved up while there is nothing to take.
            turn = last
            heapq.heappop(line)
            total -= weight
        else:
            heapq.heapreplace(line, (turn, at, queue))
        turns[queue.name] = turn
    return size


def _collect_from(
    core: Core,
    wanted: Reserve,
    queue: Queue,
    most: int,
    out: list[Delivery],
    size: int,
    fresh: bool,
) -> int:
    """Adds jobs of one queue to `out` until it has `most`; the reply's size so far."""
    room = core.limits.reply_bytes_max
    for lane in queue.order:
        # A second look only if a lane gave all that was asked: its window may be refilled.
        while len(out) < most and size < room and lane.waiting:
            asked = min(most - len(out), 1 + (room - size) // (HEAD_BYTES + 64))
            taken = _take(core, queue, lane, asked, room - size, fresh)
            size += _lease_all(core, wanted, queue, lane, taken, out, room - size, fresh)
            if not taken or fresh:
                break
    return size


def _take(
    core: Core, queue: Queue, lane: Lane, most: int, room: int, fresh: bool
) -> list[tuple[bytes, bytes]]:
    space = queue.space
    if fresh:
        return _take_fresh(core, lane, queue, most)
    taken = lanes.take(space, lane, most, core.now.wall_ms, space.leases.places, core.refill_bytes)
    size = 0
    for index, (_, row) in enumerate(taken):
        size += len(row)
        if size > room and index:
            for key, rest in reversed(taken[index:]):
                lanes.admit_front(space, lane, key, rest)
            return taken[:index]
    return taken


def _take_fresh(core: Core, lane: Lane, queue: Queue, most: int) -> list[tuple[bytes, bytes]]:
    """Due jobs of the open batch, if no earlier job of the line is on its way to the disk."""
    space = queue.space
    if any(run_lane.key[:4] == lane.key[:4] for f in space.flying for run_lane, _ in f.runs):
        return []
    rows = space.open.tables[JOBS]
    leased = space.leases.places
    bound = lane.key + core.now.wall_ms.to_bytes(6, "big") + b"\xff" * 5
    keys = sorted(
        key
        for run_lane, keys in space.runs
        if run_lane is lane
        for key in keys
        if key <= bound and key not in leased and rows[key] is not None
    )
    found = dict.fromkeys(keys)
    return [(key, row) for key in list(found)[:most] if (row := rows[key]) is not None]


def _lease_all(
    core: Core,
    wanted: Reserve,
    queue: Queue,
    lane: Lane,
    taken: list[tuple[bytes, bytes]],
    out: list[Delivery],
    room: int,
    fresh: bool,
) -> int:
    """Leases what was taken from a lane, and fits into `room` with its past; its size in bytes."""
    if not taken:
        return 0
    space, now = queue.space, core.now
    lanes.mature(space, lane, now.wall_ms, space.leases.places)
    before = len(out)
    rest = taken if wanted.auto_ack else _lease_plain(core, wanted, queue, lane, taken, out)
    size = sum(len(row) for _, row in taken)
    for index, (key, row) in enumerate(rest):
        if size > room and len(out) > before:
            # Checkpoints came on top of what was taken; a reply must fit into a frame.
            if not fresh:
                for later, its_row in reversed(rest[index:]):
                    lanes.admit_front(space, lane, later, its_row)
            break
        size += _lease_special(core, wanted, queue, lane, key, row, out)
    leased = len(out) - before
    queue.totals.leased += leased
    queue.leased_rate.add(leased, now.mono_ms)
    return size


def _lease_plain(
    core: Core,
    wanted: Reserve,
    queue: Queue,
    lane: Lane,
    taken: list[tuple[bytes, bytes]],
    out: list[Delivery],
) -> list[tuple[bytes, bytes]]:
    """Leases the first of `taken` that are plain first deliveries; the rest is returned.

    Written out, because nearly every delivery comes through here: what the leases of one
    reserve share is made once (measured: 2.4 us a job like this, 9 us one by one).
    """
    space, session, (wall_ms, mono_ms) = queue.space, wanted.session, core.now
    leases, settings, name = space.leases, queue.settings, queue.name
    by_id, places, slots, free = leases.by_id, leases.places, leases.slots, leases.free
    lease_rows = space.open.tables[LEASES]
    asked_ms, usual_ms, usual_attempts = wanted.lease_ms, settings.lease_ms, settings.max_attempts
    heads: dict[int, tuple[Bucket, bytes]] = {}
    keys: list[bytes] = []
    # What the job before had; the first one is like none.
    last_ms = last_length = -1
    bucket, sized = Bucket(0, b"", b""), b""
    of_bucket = bucket.leases
    size = 0
    for key, row in taken:
        flags, origin_len, attempts, extras_len, own_ms, e_hi, e_lo, _, _ = read_head(row, 4)
        if flags or extras_len:
            break
        lease_ms = asked_ms or own_ms or usual_ms
        length = len(row)
        if lease_ms != last_ms or length != last_length:
            shared = heads.get(lease_ms)
            if shared is None:
                bucket = leases.bucket(mono_ms + lease_ms, session.id, session.worker)
                head = lease_head(1, lease_ms, wall_ms, session.id, session.worker)
                shared = heads[lease_ms] = (bucket, head)
            bucket, head = shared
            of_bucket, sized = bucket.leases, head + length.to_bytes(4, "big")
            last_ms, last_length = lease_ms, length
        slot = free.pop() if free else leases.free_slot()
        lease = Lease(key, key, 1, slot, lease_ms, wall_ms, length, True, queue, bucket)
        by_id[key] = slots[slot] = of_bucket[key] = lease
        places.add(key)
        slot_bytes = slot.to_bytes(4, "big")
        content = sized + key
        lease_rows[slot_bytes] = crc32(content, crc32(slot_bytes)).to_bytes(4, "big") + content
        keys.append(key)
        size += length
        body = row[HEAD_BYTES + origin_len :]
        most = attempts or usual_attempts
        out.append((key, 1, name, lease_ms, e_hi << 32 | e_lo, body, most, 0))
    if keys:
        space.writes = True
        queue.leased += len(keys)
        queue.leased_bytes += size
        lanes.count_run(space, lane, keys, -1, size)
    return taken[len(keys) :] if len(keys) < len(taken) else []


def _lease_special(
    core: Core,
    wanted: Reserve,
    queue: Queue,
    lane: Lane,
    key: bytes,
    row: bytes,
    out: list[Delivery],
) -> int:
    """Leases (or gives away, or expires) one job that may have a past or options.

    How many bytes its past adds to the reply.
    """
    space = queue.space
    record = unpack_record(row)
    job_id = record.id or key
    state = state_of(space, job_id) if record.flags & HAS_STATE else None
    live = Live(queue, job_id, key, row, state, None)
    if record.expires_at_ms and may_expire(live, core.now.wall_ms):
        expire(core, live)
        return 0
    lanes.count(space, lane, key, -1, len(row), bool(record.flags & RETRYING))
    # Before it is given away, and its notes with it.
    extra, extra_bytes = past_of(space, live)
    if wanted.auto_ack:
        plain = _give_away(core, live, record, known(state))
    else:
        plain = _lease(core, wanted, live, record, state)
    out.append((*plain, extra) if extra else plain)
    return extra_bytes


def _lease(
    core: Core, wanted: Reserve, live: Live, record: Record, state: StateRow | None
) -> PlainDelivery:
    queue, now, session = live.queue, core.now, wanted.session
    leases, settings = queue.space.leases, queue.settings
    lease_ms = wanted.lease_ms or record.lease_ms or settings.lease_ms
    past = known(state)
    attempt = past.attempt + 1
    size = len(live.row)
    lease = Lease(
        live.id,
        live.place,
        attempt,
        leases.free_slot(),
        lease_ms,
        now.wall_ms,
        size,
        False,
        queue,
        leases.bucket(now.mono_ms + lease_ms, session.id, session.worker),
    )
    leases.add(lease)
    save_lease(lease)
    queue.leased += 1
    queue.leased_bytes += size
    return (
        live.id,
        attempt,
        queue.name,
        lease_ms,
        record.enqueued_at_ms,
        record.body,
        record.max_attempts or settings.max_attempts,
        past.failures + past.timeouts + past.lost,
    )


def _give_away(core: Core, live: Live, record: Record, state: StateRow) -> PlainDelivery:
    """At most once: the job has succeeded when it leaves."""
    queue = live.queue
    attempt = state.attempt + 1
    finish(core, live, "succeeded", state._replace(attempt=attempt))
    queue.totals.succeeded += 1
    queue.ended_rate.add(1, core.now.mono_ms)
    used = state.failures + state.timeouts + state.lost
    most = record.max_attempts or queue.settings.max_attempts
    return (live.id, attempt, queue.name, 0, record.enqueued_at_ms, record.body, most, used)
