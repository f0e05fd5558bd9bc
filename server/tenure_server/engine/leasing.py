"""What a reserve takes off a lane becomes leases, and deliveries.

Nearly every delivery is plain: the first of a job without options. The plain ones of a reserve
have one row for all (`lease_rows`).
"""

from __future__ import annotations

from tenure_server.engine import lanes
from tenure_server.engine.core import Core
from tenure_server.engine.delivery import Delivery, PlainDelivery, past_of
from tenure_server.engine.ending import finish, may_expire
from tenure_server.engine.finding import Live, known, state_of
from tenure_server.engine.jobs import expire
from tenure_server.engine.lanes import Lane
from tenure_server.engine.lease_rows import BUNDLE_JOBS_MAX, save_bundle, save_lease
from tenure_server.engine.leases import Bucket, Bundle, Lease
from tenure_server.engine.queues import Queue
from tenure_server.engine.waiting import Reserve
from tenure_storage.layout import (
    HAS_STATE,
    HEAD_BYTES,
    RETRYING,
    Record,
    StateRow,
    read_head,
    unpack_record,
)
from tenure_storage.lease_layout import bundle_head


def lease_all(
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
    size = sum([len(row) for _, row in taken])
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
    """Leases the first of `taken` that are plain first deliveries; the rest is returned."""
    done = 0
    while done < len(taken):
        some = taken[done : done + BUNDLE_JOBS_MAX]
        leased = _lease_bundled(core, wanted, queue, lane, some, out)
        done += leased
        if leased < len(some):
            return taken[done:]
    return []


def _lease_bundled(
    core: Core,
    wanted: Reserve,
    queue: Queue,
    lane: Lane,
    taken: list[tuple[bytes, bytes]],
    out: list[Delivery],
) -> int:
    """Leases the first of `taken` that are plain, in one row of the store; how many.

    Written out, because nearly every delivery comes through here.
    """
    space, session, (wall_ms, mono_ms) = queue.space, wanted.session, core.now
    leases, settings, name = space.leases, queue.settings, queue.name
    by_id, asked_ms, usual_ms = leases.by_id, wanted.lease_ms, settings.lease_ms
    usual_attempts = settings.max_attempts
    bundles: dict[int, tuple[Bundle, Bucket]] = {}
    # What the job before had; the first one is like none.
    last_ms = -1
    bundle, bucket = Bundle(-1, b""), Bucket(0, b"", b"")
    ids, of_bucket = bundle.ids, bucket.leases
    size = done = 0
    for key, row in taken:
        flags, origin_len, attempts, extras_len, own_ms, e_hi, e_lo, _, _ = read_head(row, 4)
        if flags or extras_len:
            break
        lease_ms = asked_ms or own_ms or usual_ms
        if lease_ms != last_ms:
            if lease_ms not in bundles:
                bucket = leases.bucket(mono_ms + lease_ms, session.id, session.worker)
                head = bundle_head(lease_ms, wall_ms, session.id, session.worker)
                bundles[lease_ms] = (Bundle(leases.take_slot(), head), bucket)
            bundle, bucket = bundles[lease_ms]
            ids, of_bucket, last_ms = bundle.ids, bucket.leases, lease_ms
        length = len(row)
        by_id[key] = of_bucket[key] = Lease(
            key, key, 1, lease_ms, wall_ms, length, True, queue, bucket, -1, bundle
        )
        ids.append(key)
        size += length
        done += 1
        body = row[HEAD_BYTES + origin_len :]
        most = attempts or usual_attempts
        out.append((key, 1, name, lease_ms, e_hi << 32 | e_lo, body, most, 0))
    if not done:
        return 0
    keys = [key for key, _ in taken[:done]]
    leases.places.update(keys)
    for bundle, _ in bundles.values():
        save_bundle(space, bundle)
    queue.leased += done
    queue.leased_bytes += size
    lanes.count_run(space, lane, keys, -1, size)
    return done


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
        lease_ms,
        now.wall_ms,
        size,
        False,
        queue,
        leases.bucket(now.mono_ms + lease_ms, session.id, session.worker),
        leases.take_slot(),
        None,
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
