"""Ack: jobs have succeeded. Nearly every one is plain: a delete for the job, one for its lease's row."""

from __future__ import annotations

from tenure_protocol.errors import BadRequest, PayloadTooLarge
from tenure_server.engine.core import Core
from tenure_server.engine.ending import finish
from tenure_server.engine.fields import args_list, item, items
from tenure_server.engine.finding import known
from tenure_server.engine.jobs import end_lease, with_attempt
from tenure_server.engine.lease_rows import erase, tidy
from tenure_server.engine.leases import Bundle, Lease
from tenure_server.engine.queues import Queue
from tenure_server.engine.settle import each, taken
from tenure_server.engine.types import Session
from tenure_storage.store import JOBS


def ack(core: Core, _session: Session, _request_id: int, raw: object) -> object:
    """[[id, attempt, result?], ...] -> outcomes: the jobs have succeeded."""
    args = args_list("ack", raw)
    entries = items(item(args, 0), "items", core.limits.jobs_per_request_max)
    plain = _ack_plain(core, entries)
    if plain == len(entries):
        return [0] * plain
    instant = core.instant
    rest = each(core, "ack", [entries[plain:]], _ack)
    core.instant = core.instant and instant
    return [0] * plain + rest


def _ack_plain(core: Core, entries: list[object]) -> int:
    """Acks the first entries as long as they are plain; how many those were.

    Written out, because nearly every ack comes through here: one delete for the job, one for
    all leases of its row, the counts once for all (measured: a third of one by one).
    """
    first_id = entries[0][0] if type(entries[0]) is list and entries[0] else None
    space = core.space_of(first_id) if type(first_id) is bytes and first_id else core.disk
    leases, jobs = space.leases, space.open.tables[JOBS]
    by_id, places = leases.by_id, leases.places
    job_waits, settled = core.job_waits, core.settled
    queue: Queue | None = None
    bundle: Bundle | None = None
    done = first = size = 0
    for entry in entries:
        if type(entry) is not list or len(entry) != 2:
            break
        job_id, attempt = entry
        lease = by_id.get(job_id) if type(job_id) is bytes else None
        if lease is None or lease.attempt != attempt or not lease.plain or job_id in job_waits:
            break
        if lease.queue is not queue:
            _count_acked(core, queue, done - first, size)
            queue, first, size = lease.queue, done, 0
            if queue.settings.retention_ms:
                break
        if lease.bundle is not bundle:
            if bundle is not None:
                tidy(space, bundle)
            bundle = lease.bundle
        jobs[job_id] = None
        del by_id[job_id]
        places.discard(job_id)
        if bundle is not None:
            bundle.left -= 1
        else:
            erase(space, lease)
        bucket = lease.bucket
        del bucket.leases[job_id]
        if not bucket.leases:
            leases.drop(bucket)
        settled[job_id] = lease.attempt
        size += lease.size
        done += 1
    if bundle is not None:
        tidy(space, bundle)
    _count_acked(core, queue, done - first, size)
    core.instant = not done or space.volatile
    if done:
        space.writes = True
        core.age_settled()
    return done


def _count_acked(core: Core, queue: Queue | None, jobs: int, size: int) -> None:
    if queue is not None and jobs:
        queue.leased -= jobs
        queue.leased_bytes -= size
        queue.totals.succeeded += jobs
        queue.ended_rate.add(jobs, core.now.mono_ms)


def _ack(core: Core, lease: Lease, entry: list[object]) -> object:
    queue = lease.queue
    result = entry[2] if len(entry) > 2 else None
    if result is not None:
        _check_result(core, result)
    live = taken(core, lease)
    state = with_attempt(core, known(live.state), lease, "succeeded")
    assert result is None or isinstance(result, bytes)
    end_lease(core, lease)
    finish(core, live, "succeeded", state, result=result)
    queue.totals.succeeded += 1
    queue.ended_rate.add(1, core.now.mono_ms)
    core.remember_settled(lease.id, lease.attempt)
    return 0


def _check_result(core: Core, result: object) -> None:
    if type(result) is not bytes:
        raise BadRequest("a result must be bytes (msgpack bin) or nil")
    if len(result) > core.limits.result_bytes_max:
        raise PayloadTooLarge(
            f"the result has {len(result)} bytes; the limit is {core.limits.result_bytes_max}",
            details={"bytes": len(result), "limit": core.limits.result_bytes_max},
        )
