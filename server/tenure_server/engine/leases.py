"""Leases: who holds which job, until when.

A lease is found by job id; the leases that one session took and that end at the same moment
share a `Bucket`, through which they are found by session and by end. So taking, settling and
extending cost a few dictionary operations, and nothing of an ended lease remains. Ends are
monotonic time.

In the store a lease has a row of its own, or is one of a `Bundle`, which has one row for the
first deliveries of a reserve. A slot is the number of a row.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenure_server.engine.queues import Queue


SLACK = 1_024
"""How many empty buckets may stay in the order of ends until it is tidied."""


class Bucket:
    """The leases of one session that end at one moment."""

    __slots__ = ("leases", "session", "until_ms", "worker")

    def __init__(self, until_ms: int, session: bytes, worker: bytes) -> None:
        self.until_ms = until_ms
        self.session = session
        self.worker = worker
        self.leases: dict[bytes, Lease] = {}


class Bundle:
    """Leases of one reserve that have one row in the store. They leave it one by one."""

    __slots__ = ("head", "ids", "left", "slot")

    def __init__(self, slot: int, head: bytes) -> None:
        self.slot = slot
        self.head = head
        """What the row says of all of them."""
        self.ids: list[bytes] = []
        """The jobs that the row names."""
        self.left = 0
        """How many of them are still leased through it."""


class Lease:
    """A job in a worker's hands."""

    __slots__ = (
        "attempt",
        "bucket",
        "bundle",
        "id",
        "lease_ms",
        "place",
        "plain",
        "queue",
        "size",
        "slot",
        "started_at_ms",
    )

    def __init__(
        self,
        job_id: bytes,
        place: bytes,
        attempt: int,
        lease_ms: int,
        started_at_ms: int,
        size: int,
        plain: bool,
        queue: Queue,
        bucket: Bucket,
        slot: int,
        bundle: Bundle | None,
    ) -> None:
        self.id = job_id
        self.place = place
        self.attempt = attempt
        self.lease_ms = lease_ms
        self.started_at_ms = started_at_ms
        self.size = size
        self.plain = plain
        """Nothing but the job and the lease has to go when it is acked."""
        self.queue = queue
        self.bucket = bucket
        self.slot = slot
        """Of its own row; -1 if it has none."""
        self.bundle = bundle
        """What has its row, or None."""

    @property
    def until_ms(self) -> int:
        """When it ends, in monotonic milliseconds."""
        return self.bucket.until_ms

    @property
    def session(self) -> bytes:
        """The session that holds it."""
        return self.bucket.session

    @property
    def worker(self) -> bytes:
        """The client name of its holder."""
        return self.bucket.worker

    def __repr__(self) -> str:
        return f"<Lease {self.id.hex()}#{self.attempt} until={self.until_ms}>"


class Leases:
    """All leases of one space, and the job places they cover. See `clock_cut_ms` of `Engine`."""

    __slots__ = (
        "_buckets",
        "_cut_ms",
        "_ends",
        "_number",
        "by_id",
        "by_session",
        "free",
        "places",
        "slots",
    )

    def __init__(self, cut_ms: int = 0) -> None:
        self._cut_ms = cut_ms
        self.by_id: dict[bytes, Lease] = {}
        self.by_session: dict[bytes, dict[Bucket, None]] = {}
        self.places: set[bytes] = set()
        """Only asked whether it contains a place; its order decides nothing."""
        self.slots: list[Lease | Bundle | None] = []
        self.free: list[int] = []
        """Free slots, used again from the end, so that rows stay dense."""
        self._buckets: dict[tuple[int, bytes], Bucket] = {}
        self._ends: list[tuple[int, int, Bucket]] = []
        self._number = 0

    def __len__(self) -> int:
        return len(self.by_id)

    def bucket(self, until_ms: int, session: bytes, worker: bytes) -> Bucket:
        """The bucket of a session's leases that may not end before `until_ms`; made when first asked for."""
        until_ms += self._cut_ms
        bucket = self._buckets.get((until_ms, session))
        if bucket is None:
            if len(self._ends) > 2 * len(self._buckets) + SLACK:
                # Most leases are settled long before they end; they must not pile up here.
                self._ends = [entry for entry in self._ends if entry[2].leases]
                heapq.heapify(self._ends)
            bucket = Bucket(until_ms, session, worker)
            self._buckets[until_ms, session] = bucket
            self.by_session.setdefault(session, {})[bucket] = None
            self._number += 1
            heapq.heappush(self._ends, (until_ms, self._number, bucket))
        return bucket

    def take_slot(self) -> int:
        """A slot for a new row."""
        if self.free:
            return self.free.pop()
        self.slots.append(None)
        return len(self.slots) - 1

    def free_slot(self, slot: int) -> None:
        """The row of a slot is gone."""
        self.slots[slot] = None
        self.free.append(slot)

    def in_slot(self, slot: int) -> list[Lease]:
        """The leases of one row, by job id."""
        holder = self.slots[slot]
        if isinstance(holder, Bundle):
            return sorted(self.bundled(holder), key=lambda lease: lease.id)
        return [] if holder is None else [holder]

    def bundled(self, bundle: Bundle) -> list[Lease]:
        """The leases that are in a bundle still, in the order of its row."""
        found = (self.by_id.get(job_id) for job_id in bundle.ids)
        return [lease for lease in found if lease is not None and lease.bundle is bundle]

    def add(self, lease: Lease) -> None:
        """Takes in a lease; where its row is, is `lease_rows`' business."""
        self.by_id[lease.id] = lease
        self.places.add(lease.place)
        lease.bucket.leases[lease.id] = lease

    def remove(self, lease: Lease) -> None:
        """Ends a lease."""
        del self.by_id[lease.id]
        self.places.discard(lease.place)
        bucket = lease.bucket
        del bucket.leases[lease.id]
        if not bucket.leases:
            self.drop(bucket)

    def extend(self, lease: Lease, until_ms: int) -> None:
        """Lets a lease run until another moment."""
        old = lease.bucket
        lease.bucket = self.bucket(until_ms, old.session, old.worker)
        if lease.bucket is old:
            return
        lease.bucket.leases[lease.id] = lease
        del old.leases[lease.id]
        if not old.leases:
            self.drop(old)

    def drop(self, bucket: Bucket) -> None:
        """Forgets an empty bucket."""
        del self._buckets[bucket.until_ms, bucket.session]
        of_session = self.by_session[bucket.session]
        del of_session[bucket]
        if not of_session:
            del self.by_session[bucket.session]

    def of_session(self, session: bytes) -> list[Lease]:
        """The leases a session holds, those that end first at the beginning."""
        buckets = sorted(self.by_session.get(session, ()), key=lambda bucket: bucket.until_ms)
        return [lease for bucket in buckets for lease in bucket.leases.values()]

    def adopt(self, slot: int, holder: Lease | Bundle) -> None:
        """Takes a slot in that was read at the start; `restored` must follow the last."""
        while len(self.slots) <= slot:
            self.slots.append(None)
        self.slots[slot] = holder

    def restored(self) -> None:
        """Finds the free slots after a start."""
        self.free = [i for i in range(len(self.slots) - 1, -1, -1) if self.slots[i] is None]

    def run_out(self, mono_ms: int) -> list[Lease]:
        """The leases of the earliest bucket whose end has passed; the caller ends each."""
        first = self.next_end_ms()
        if first is None or first > mono_ms:
            return []
        return list(self._ends[0][2].leases.values())

    def next_end_ms(self) -> int | None:
        """When the first lease may run out, in monotonic milliseconds."""
        while self._ends and not self._ends[0][2].leases:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None
