"""The store as the engine and the committer see it.

engine ──► Batch ──► Store.submit ──► (fill on this thread, commit on another) ──► on_done
engine ◄── Store.get / get_many / scan: the committed state, one short read each
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

JOBS: Final = 0
"""place (16 bytes) -> job record. Key order is delivery order."""
LEASES: Final = 1
"""slot u32 -> lease row. Slots are re-used, so the rows stay dense."""
STATES: Final = 2
"""job id -> state row, only for jobs that have something to remember."""
DEAD: Final = 3
"""queue number u32 | died_at u48 | seq u40 -> dead entry."""
FINISHED: Final = 4
"""queue number u32 | forget_at u48 | seq u40 | end u8 -> finished entry."""
DUE: Final = 5
"""at u48 | job id -> kind. Jobs to look at when their time has come."""
UNIQUE: Final = 6
"""queue number u32 | unique name -> job id."""
PRODUCERS: Final = 7
"""producer id (16 bytes) | slot u16 -> producer row."""
QUEUES: Final = 8
"""queue number u32 | name -> queue row."""
LANES: Final = 9
"""line u32 | priority u8 -> lane row."""
META: Final = 10
"""name -> value: format, lmdb, batch, clock."""
CHORES: Final = 11
"""chore number u32 -> chore row: mass operations that are not finished."""
DAMAGED: Final = 12
"""table u8 | key -> the value as it was found, without a checksum."""
NOTES: Final = 13
"""job id | kind u8 -> what running jobs wanted known: progress and log, or a checkpoint."""

TABLES: Final = (
    "jobs",
    "leases",
    "states",
    "dead",
    "finished",
    "due",
    "unique",
    "producers",
    "queues",
    "lanes",
    "meta",
    "chores",
    "damaged",
    "notes",
)
"""Table names, by number."""

TABLES_OF_FORMAT: Final = {1: 13, 2: 14, 3: 14}
"""How many of the tables a store of each format has."""

FORMAT: Final = 3
"""The version of the layout of keys and rows that this code writes."""


@dataclass(slots=True)
class Batch:
    """Absolute values, by table: the last word on every key. `None` deletes."""

    number: int
    tables: tuple[dict[bytes, bytes | None], ...] = field(
        default_factory=lambda: tuple([{} for _ in TABLES])
    )

    def __bool__(self) -> bool:
        return any(self.tables)


@dataclass(frozen=True, slots=True)
class StoreSizes:
    """What the store occupies. All in bytes but `entries` and the page counts."""

    used_bytes: int
    """Pages in use; what remains after a compaction."""
    file_bytes: int
    """The size of the data file; it does not shrink by itself."""
    max_bytes: int
    """The capacity: enqueues are refused above it."""
    map_bytes: int
    """The address space reserved, at least `max_bytes` and room for acks."""
    free_pages: int
    readers: int
    entries: tuple[int, ...]
    """Rows per table."""


class StoreError(Exception):
    """A store cannot be opened or used; the message says why and what to do."""


class StoreLocked(StoreError):
    """Another process uses the data directory; the message names it."""


class StoreUnwritable(StoreError):
    """The disk or the system did not do what was needed; nothing is lost by that."""


class StoreReader(Protocol):
    """Committed state. Every call is one short read transaction."""

    def get(self, table: int, key: bytes) -> bytes | None:
        """The value of `key`, with its checksum, or None."""
        ...

    def get_many(self, table: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The values of `keys`, in their order."""
        ...

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> list[tuple[bytes, bytes]]:
        """Rows with after < key <= until in key order: at most `limit`, and no more once the
        values exceed `bytes_max` (at least one row if there is one)."""
        ...

    def count(self, table: int) -> int:
        """How many rows `table` has; does not read them."""
        ...


class Store(StoreReader, Protocol):
    """A durable (or, for tests and memory queues, forgetful) ordered map of tables."""

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        """Starts to make `batch` durable, whole or not at all; one batch at a time.

        `on_done` is called once, perhaps on another thread, perhaps before this returns. After
        an error the store is latched: every later submit raises `StoreError`.
        """
        ...

    def commit(self, batch: Batch) -> None:
        """`submit` and wait; raises what the commit raised. For tools and tests."""
        ...

    def sizes(self) -> StoreSizes:
        """What the store occupies now."""
        ...

    def close(self) -> None:
        """Waits for the commit in flight, then lets go of the files. Idempotent."""
        ...
