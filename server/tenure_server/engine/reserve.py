"""Reserve: jobs leave their line for a limited time.

A delivery leaves the broker after the commit that holds its lease. A waiting reserve may
be given a job of the batch that enqueues it: one commit for both.
"""

from __future__ import annotations

import heapq

from tenure_protocol import limits
from tenure_protocol.errors import BadRequest, Draining, TooManyLeases
from tenure_protocol.names import check_queue_name
from tenure_server.engine import lanes
from tenure_server.engine.core import DRAINING_TOLD, Core
from tenure_server.engine.delivery import Delivery
from tenure_server.engine.fields import args_list, flag, item, items, whole, whole_or
from tenure_server.engine.lanes import Lane
from tenure_server.engine.leasing import lease_all
from tenure_server.engine.queues import Queue
from tenure_server.engine.types import Session
from tenure_server.engine.waiting import WAITING, Reserve, hold
from tenure_storage.layout import HEAD_BYTES
from tenure_storage.store import JOBS

TURNS_MAX = 1_024
"""Of how many queues a session's turns are remembered."""

WEIGHT_MAX = 1_000
"""The largest weight of a queue."""


def reserve(core: Core, session: Session, request_id: int, raw: object) -> object:
    """[queues, max_jobs, wait_ms, lease_ms, auto_ack] -> jobs."""
    wanted, wait_ms = _read(core, session, request_id, raw)
    if core.draining:
        raise Draining(DRAINING_TOLD)
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
    most = min(wanted.max_jobs, core.lease_room)
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
            size += lease_all(core, wanted, queue, lane, taken, out, room - size, fresh)
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
    if sum([len(row) for _, row in taken]) <= room:
        return taken
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
