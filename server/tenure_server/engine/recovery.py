"""Starting from a store: what is read, and nothing else.

Queues, lanes, leases, chores, tallies and the clock: O(leases + non-empty lanes). The jobs
themselves are not scanned; windows fill when somebody reserves.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tenure_server.engine import chores
from tenure_server.engine.control import save_queue, tally_key
from tenure_server.engine.core import Core
from tenure_server.engine.lanes import Lane
from tenure_server.engine.leases import Bucket, Bundle, Lease
from tenure_server.engine.queues import Queue, Settings, change_settings
from tenure_server.engine.space import Space
from tenure_storage.layout import (
    RETRYING,
    Damaged,
    LaneRow,
    intact,
    opened_map,
    record_flags,
    unpack_lane,
)
from tenure_storage.lease_layout import BundleRow, LeaseRow, bundle_head, has_past, unpack_lease
from tenure_storage.store import CHORES, JOBS, LANES, LEASES, META, QUEUES

PAGE_ROWS = 5_000

SEQ_SKIPPED = 1 << 16
"""How many numbers a start leaves out."""


def load(core: Core) -> None:
    """Fills an empty core from its durable space."""
    space = core.disk
    _load_meta(core)
    lost = [key for key, row in _rows(space, QUEUES) if not _load_queue(core, key, row)]
    for key, row in _rows(space, CHORES):
        _load_chore(core, key, row)
    # Now it is known which lines are in use.
    for key in lost:
        _renew_queue(core, key)
    whole = _load_leases(core)
    if not all([whole, *(_load_lane(core, key, row) for key, row in _rows(space, LANES))]):
        _recount(core)
    numbers = [*core.by_number, *(chore.queue_number for chore in core.chores.values())]
    core.next_queue_number = max(numbers, default=0) + 1


def _rows(space: Space, table: int) -> Iterator[tuple[bytes, bytes]]:
    after, last = b"", b"\xff" * 300
    while True:
        rows = space.store.scan(table, after, last, PAGE_ROWS)
        if not rows:
            return
        yield from rows
        after = rows[-1][0]


def _load_meta(core: Core) -> None:
    row = core.disk.store.get(META, b"batch")
    if row is None:
        return
    try:
        number, seq, high_ms = opened_map(b"batch", row)
    except Damaged:
        core.disk.set_aside(META, b"batch", row)
        # The numbers only have to be unused: seconds since 1970 in units of a thousand jobs
        # are ahead of what any broker has counted so far, and places hold the time anyway.
        number, seq, high_ms = 1, core.now.wall_ms & ((1 << 40) - 1), core.now.wall_ms
    core.disk.open.number = number + 1
    # Numbers given to memory queues after the last commit are not used again.
    core.seq = seq + SEQ_SKIPPED
    core.clock_high_ms = high_ms


def _load_queue(core: Core, key: bytes, row: bytes) -> bool:
    """Takes a queue in; False if its row is damaged."""
    try:
        fields: dict[str, Any] = opened_map(key, row)
        settings = change_settings(core.defaults, fields["settings"])
        line, created_at_ms = fields["line"], fields["created_at_ms"]
    except Damaged:
        core.disk.set_aside(QUEUES, key, row)
        return False
    if settings.durability == "memory":
        line = core.new_line(True)
    _add_queue(core, key, line, settings, created_at_ms)
    return True


def _renew_queue(core: Core, key: bytes) -> None:
    """A queue whose row is damaged waits, paused, for a person.

    Its name and number are in the key; where its jobs are is not: `tenure store verify` lists the
    jobs of the line that nobody owns. It gets a line and a row of its own, so that what it is
    given from now on is found by the next start.
    """
    settings = change_settings(core.defaults, {"paused": True})
    line = core.new_line(settings.durability == "memory")
    queue = _add_queue(core, key, line, settings, core.now.wall_ms)
    save_queue(core, queue)
    for chore in core.chores.values():
        if chore.kind == "sweep_line" and chore.queue_number == queue.number:
            core.retired[chore.line] = queue
    core.event("error", "queue_row_damaged", queue=queue.name)


def _add_queue(core: Core, key: bytes, line: int, settings: Settings, created_at_ms: int) -> Queue:
    number, name = int.from_bytes(key[:4], "big"), key[4:].decode()
    volatile = settings.durability == "memory"
    space = core.memory if volatile else core.disk
    queue = Queue(name, number, line, settings, space, created_at_ms)
    core.queues[name] = core.by_number[number] = core.by_line[line] = queue
    tally = core.disk.store.get(META, tally_key(number))
    if tally is not None and not volatile:
        try:
            queue.tally = list(opened_map(tally_key(number), tally))
        except Damaged:
            core.disk.set_aside(META, tally_key(number), tally)
    return queue


def _load_chore(core: Core, key: bytes, row: bytes) -> None:
    try:
        fields = opened_map(key, row)
    except Damaged:
        core.disk.set_aside(CHORES, key, row)
        return
    chore = chores.Chore(int.from_bytes(key, "big"), core.disk, fields)
    core.chores[chore.number] = chore
    if chore.kind == "sweep_line":
        core.retired[chore.line] = core.by_number.get(chore.queue_number)


def _load_lane(core: Core, key: bytes, row: bytes) -> bool:
    """Takes a lane in; False if its row is damaged."""
    queue = core.by_line.get(int.from_bytes(key[:4], "big"))
    try:
        counts = unpack_lane(key, row)
    except Damaged:
        core.disk.set_aside(LANES, key, row)
        return False
    if queue is not None:
        queue.add_lane(Lane(queue.line, key[4], counts))
    return True


def _recount(core: Core) -> None:
    """Counts all lanes afresh, because a row that counted is damaged: the one case in which a
    start scans the jobs."""
    space, counts = core.disk, dict[bytes, list[int]]()
    for place, row in _rows(space, JOBS):
        if place not in space.leases.places and intact(place, row):
            count = counts.setdefault(place[:5], [0, 0, 0])
            count[0] += 1
            count[1] += bool(record_flags(row) & RETRYING)
            count[2] += len(row)
        elif not intact(place, row):
            space.set_aside(JOBS, place, row)
    for queue in core.by_line.values():
        if queue.space is space:
            queue.lanes, queue.order = {}, []
    for key, (waiting, retrying, size) in counts.items():
        counted = core.by_line.get(int.from_bytes(key[:4], "big"))
        if counted is not None:
            row_ = LaneRow(waiting, waiting, retrying, size, bytes(11))
            lane = counted.add_lane(Lane(counted.line, key[4], row_))
            space.dirty_lanes[key] = lane
    core.event("error", "lanes_recounted", lanes=len(counts))


def _load_leases(core: Core) -> bool:
    """Takes all leases in; False if a row is damaged: then its jobs wait again, uncounted."""
    space, sound = core.disk, True
    bundles: list[tuple[bytes, BundleRow]] = []
    for key, row in _rows(space, LEASES):
        try:
            stored = unpack_lease(key, row)
        except Damaged:
            space.set_aside(LEASES, key, row)
            sound = False
            continue
        if isinstance(stored, BundleRow):
            bundles.append((key, stored))
        else:
            _load_lease(core, key, stored)
    # Last, for what has a row of its own is not leased through a bundle any more.
    for key, bundle in bundles:
        _load_bundle(core, key, bundle)
    space.leases.restored()
    return sound


def _load_lease(core: Core, key: bytes, stored: LeaseRow) -> None:
    queue = core.queue_of_place(stored.place)
    if queue is None:
        core.disk.put(LEASES, key, None)
        return
    leases, slot = core.disk.leases, int.from_bytes(key, "big")
    lease = Lease(
        stored.id,
        stored.place,
        stored.attempt,
        stored.lease_ms,
        stored.started_at_ms,
        stored.size,
        False,
        queue,
        _bucket(core, stored),
        slot,
        None,
    )
    leases.adopt(slot, lease)
    leases.add(lease)
    queue.leased += 1
    queue.leased_bytes += stored.size


def _load_bundle(core: Core, key: bytes, stored: BundleRow) -> None:
    space, leases, get = core.disk, core.disk.leases, core.disk.store.get
    head = bundle_head(stored.lease_ms, stored.started_at_ms, stored.session, stored.worker)
    bundle = Bundle(int.from_bytes(key, "big"), head)
    for job_id in stored.ids:
        queue, row = core.queue_of_place(job_id), get(JOBS, job_id)
        if queue is None or row is None or job_id in leases.by_id or has_past(get, job_id, row):
            continue
        leases.add(
            Lease(
                job_id,
                job_id,
                1,
                stored.lease_ms,
                stored.started_at_ms,
                len(row),
                True,
                queue,
                _bucket(core, stored),
                -1,
                bundle,
            )
        )
        bundle.ids.append(job_id)
        queue.leased += 1
        queue.leased_bytes += len(row)
    bundle.left = len(bundle.ids)
    if bundle.left:
        leases.adopt(bundle.slot, bundle)
    else:
        space.put(LEASES, key, None)


def _bucket(core: Core, stored: LeaseRow | BundleRow) -> Bucket:
    """A restart gives every lease its full time."""
    until_ms = core.now.mono_ms + stored.lease_ms
    return core.disk.leases.bucket(until_ms, stored.session, stored.worker)
