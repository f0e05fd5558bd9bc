"""A store with the writes that are not yet announced laid over it.

    open batch        what commands are adding now
    flying batches    sealed, on their way to the disk, oldest first
    store             committed; a flying batch may be visible here before it is announced

Reads by key go through all three. Scans see the store alone, so whoever scans asks
`pending(key)` and leaves such keys to the announcement of their batch (rules 2 and 3 of
`lanes`). There are two spaces: the durable one, and one in memory for queues that may be
lost, whose batches are committed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenure_server.engine.leases import Leases
from tenure_server.engine.types import Reply
from tenure_storage.layout import Damaged, opened
from tenure_storage.store import DAMAGED, JOBS, TABLES, Batch, StoreReader

if TYPE_CHECKING:
    from tenure_server.engine.lanes import Lane


class Flying:
    """A sealed batch, the replies that wait for it, and the job keys it put, by lane."""

    __slots__ = ("batch", "replies", "runs")

    def __init__(
        self, batch: Batch, replies: list[Reply], runs: list[tuple[Lane, list[bytes]]]
    ) -> None:
        self.batch = batch
        self.replies = replies
        self.runs = runs


class Space:
    """The overlay of one store. `damaged` collects keys whose rows failed their checksum."""

    __slots__ = (
        "damaged",
        "dirty_lanes",
        "flying",
        "lanes",
        "leases",
        "next_due_ms",
        "open",
        "producer_cursor",
        "runs",
        "store",
        "volatile",
        "window_bytes",
        "writes",
    )

    def __init__(self, store: StoreReader, volatile: bool, number: int, cut_ms: int = 0) -> None:
        self.store = store
        self.volatile = volatile
        self.open = Batch(number)
        self.flying: list[Flying] = []
        self.runs: list[tuple[Lane, list[bytes]]] = []
        self.dirty_lanes: dict[bytes, Lane] = {}
        self.lanes: dict[bytes, Lane] = {}
        self.leases = Leases(cut_ms)
        self.window_bytes = 0
        self.writes = False
        self.next_due_ms = 0
        self.producer_cursor = b""
        """How far the sweep of the producers has come."""
        self.damaged: list[tuple[int, bytes]] = []

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row of `key` as it will be once everything decided is durable. Unchecked."""
        rows = self.open.tables[table]
        if key in rows:
            return rows[key]
        for flying in reversed(self.flying):
            rows = flying.batch.tables[table]
            if key in rows:
                return rows[key]
        return self.store.get(table, key)

    def read(self, table: int, key: bytes) -> bytes | None:
        """The row of `key`, checked; a damaged one is set aside and counts as missing."""
        row = self.get(table, key)
        if row is None:
            return None
        try:
            opened(key, row)
        except Damaged:
            self.set_aside(table, key, row)
            return None
        return row

    def put(self, table: int, key: bytes, row: bytes | None) -> None:
        """Adds a write to the open batch. Job rows go through `put_jobs`."""
        self.open.tables[table][key] = row
        self.writes = True

    def put_jobs(self, lane: Lane, keys: list[bytes], rows: list[bytes]) -> None:
        """Adds job rows of one lane, in the order of their keys, to the open batch.

        They enter its window when announced.
        """
        self.open.tables[JOBS].update(zip(keys, rows, strict=True))
        self.runs.append((lane, keys))
        self.writes = True

    def unannounced(self, table: int) -> list[dict[bytes, bytes | None]]:
        """What unannounced batches put and delete in a table, for those that do."""
        batches = [self.open, *(flying.batch for flying in self.flying)]
        return [batch.tables[table] for batch in batches if batch.tables[table]]

    def pending(self, key: bytes) -> bool:
        """Whether an unannounced batch touches this job key."""
        if key in self.open.tables[JOBS]:
            return True
        return any(key in flying.batch.tables[JOBS] for flying in self.flying)

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> tuple[list[tuple[bytes, bytes]], bytes | None]:
        """Committed rows in (after, until] that no unannounced batch touches, and the key to go
        on after, or None at the end."""
        found = self.store.scan(table, after, until, limit, bytes_max)
        more = len(found) >= limit or sum(len(row) for _, row in found) > bytes_max
        touched = self.unannounced(table)
        rows = [kv for kv in found if not any(kv[0] in t for t in touched)] if touched else found
        return rows, found[-1][0] if found and more else None

    def set_aside(self, table: int, key: bytes, row: bytes) -> None:
        """Moves a damaged row out of the way, as it was found, for `tenure store verify`."""
        self.put(DAMAGED, bytes([table]) + key, row)
        self.put(table, key, None)
        self.damaged.append((table, key))

    def seal(self, replies: list[Reply]) -> Batch:
        """Closes the open batch and starts the next one."""
        batch = self.open
        self.flying.append(Flying(batch, replies, self.runs))
        self.open, self.runs, self.writes = Batch(batch.number + 1), [], False
        return batch

    def __repr__(self) -> str:
        rows = {name: len(t) for name, t in zip(TABLES, self.open.tables, strict=True) if t}
        return f"<Space open={rows} flying={len(self.flying)} window_bytes={self.window_bytes}>"
