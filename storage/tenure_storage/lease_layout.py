"""The rows of leases, as they are written; see `layout`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from tenure_storage.layout import intact, opened, record_flags, sealed
from tenure_storage.store import STATES

_U32 = struct.Struct(">I")

#   attempt u32 | lease_ms u32 | started_at u64 | session 8 | worker_len u8 | worker
#   | size u32 | id 16 | place 16, if it is not the id
#
# or, with an attempt of zero, for the first deliveries of one reserve
#
#   0 u32 | lease_ms u32 | started_at u64 | session 8 | worker_len u8 | worker | id 16 | id 16 ...

_LEASE = struct.Struct(">IIQ8sB")


class LeaseRow(NamedTuple):
    """A lease as it is stored. When it ends is not: a restart re-arms it in full."""

    id: bytes
    place: bytes
    attempt: int
    lease_ms: int
    started_at_ms: int
    size: int
    """The size of the job's record, which counts towards the queue's bytes."""
    session: bytes
    worker: bytes
    """The client name of the worker, UTF-8, at most 255 bytes."""


class BundleRow(NamedTuple):
    """The leases of one reserve's first deliveries, in one row.

    Jobs whose lease has ended stay in it for a while. A job is leased through it as long as its
    record is there and has no flags, for whatever ends a lease removes the record or marks it;
    and as long as it has no row of its own.
    """

    ids: list[bytes]
    lease_ms: int
    started_at_ms: int
    session: bytes
    worker: bytes


def pack_lease(key: bytes, lease: LeaseRow) -> bytes:
    """A lease's row under `key`."""
    head = _LEASE.pack(
        lease.attempt, lease.lease_ms, lease.started_at_ms, lease.session, len(lease.worker)
    )
    place = b"" if lease.place == lease.id else lease.place
    return sealed(key, head + lease.worker + _U32.pack(lease.size) + lease.id + place)


def bundle_head(lease_ms: int, started_at_ms: int, session: bytes, worker: bytes) -> bytes:
    """The content of a bundle's row up to the ids."""
    return _LEASE.pack(0, lease_ms, started_at_ms, session, len(worker)) + worker


def pack_bundle(key: bytes, head: bytes, ids: list[bytes]) -> bytes:
    """A bundle's row under `key`; `head` is from `bundle_head`."""
    return sealed(key, head + b"".join(ids))


def unpack_lease(key: bytes, row: bytes) -> LeaseRow | BundleRow:
    """The lease or the bundle in a row. Raises `Damaged`."""
    content = opened(key, row)
    attempt, lease_ms, started_at_ms, session, worker_len = _LEASE.unpack_from(content)
    at = _LEASE.size + worker_len
    worker = content[_LEASE.size : at]
    if not attempt:
        ids = [content[i : i + 16] for i in range(at, len(content), 16)]
        return BundleRow(ids, lease_ms, started_at_ms, session, worker)
    job_id = content[at + 4 : at + 20]
    return LeaseRow(
        job_id,
        content[at + 20 :] or job_id,
        attempt,
        lease_ms,
        started_at_ms,
        int.from_bytes(content[at : at + 4], "big"),
        session,
        worker,
    )


def has_past(get: Callable[[int, bytes], bytes | None], job_id: bytes, row: bytes) -> bool:
    """Whether a job that a bundle names has ended its first lease, or has a row of its own.

    `row` is its record; `get` reads a table of the store. A damaged record does not tell.
    """
    if intact(job_id, row):
        return bool(record_flags(row))
    return get(STATES, job_id) is not None
