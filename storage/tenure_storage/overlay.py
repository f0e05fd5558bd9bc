"""Rows that a store has confirmed and LMDB does not have yet, and reading through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tenure_storage.store import TABLES, StoreReader

Rows = dict[bytes, "bytes | None"]
"""The last word on each key; None: deleted."""


class Overlay:
    """Batches on top of each other, as one."""

    __slots__ = ("bytes", "rows", "tables")

    def __init__(self, tables: tuple[Rows, ...] | None = None) -> None:
        """`tables` are taken as they are, neither copied nor counted: for what leaves at once."""
        self.tables = tuple({} for _ in TABLES) if tables is None else tables
        self.rows = 0
        """How many keys have been added; the same key of two batches counts twice."""
        self.bytes = 0
        """How long they are as they were added, counted alike."""

    def add(self, tables: Sequence[Rows], size: int) -> None:
        """Takes in a batch of about `size` bytes."""
        self.bytes += size
        for table, rows in enumerate(tables):
            if rows:
                self.tables[table].update(rows)
                self.rows += len(rows)

    def between(
        self, table: int, after: bytes, until: bytes
    ) -> Iterator[tuple[bytes, bytes | None]]:
        """The rows with after < key <= until, in any order."""
        return ((k, v) for k, v in self.tables[table].items() if after < k <= until)


def merged_scan(
    store: StoreReader,
    over: Rows,
    table: int,
    after: bytes,
    until: bytes,
    limit: int,
    bytes_max: int,
) -> list[tuple[bytes, bytes]]:
    """`StoreReader.scan` of `store` with the rows of `over` (all within the range) on top of it."""
    rows: list[tuple[bytes, bytes]] = []
    if limit <= 0:
        return rows
    size = 0
    waiting = sorted(over, reverse=True)
    for key, value in _below(store, table, after, until, limit, bytes_max):
        while waiting and waiting[-1] <= key:
            mine = waiting.pop()
            row = over[mine]
            if mine == key:
                value = row
            elif row is not None:
                rows.append((mine, row))
                size += len(row)
                if size > bytes_max or len(rows) >= limit:
                    return rows
        if value is not None:
            rows.append((key, value))
            size += len(value)
            if size > bytes_max or len(rows) >= limit:
                return rows
    while waiting:
        mine = waiting.pop()
        row = over[mine]
        if row is not None:
            rows.append((mine, row))
            size += len(row)
            if size > bytes_max or len(rows) >= limit:
                return rows
    return rows


def _below(
    store: StoreReader, table: int, after: bytes, until: bytes, limit: int, bytes_max: int
) -> Iterator[tuple[bytes, bytes | None]]:
    """The rows of `store`, stretch by stretch: what is deleted above it must not end a scan."""
    while True:
        found = store.scan(table, after, until, limit, bytes_max)
        yield from found
        if len(found) < limit and sum(len(row) for _, row in found) <= bytes_max:
            return
        after = found[-1][0]
