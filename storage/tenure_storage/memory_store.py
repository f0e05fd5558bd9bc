"""The forgetful store: for tests and for queues that live in memory. Same order, same answers.

Keys are kept sorted in blocks of at most 1,024: an insert or a removal moves one block, so
a queue of any length costs some microseconds per row at either end and in the middle.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Sequence

from tenure_storage.store import TABLES, Batch, StoreError, StoreSizes

_BLOCK_KEYS_MAX = 1024


class _SortedTable:
    """A dict that is also in key order."""

    __slots__ = ("blocks", "lasts", "rows", "value_bytes")

    def __init__(self) -> None:
        self.rows: dict[bytes, bytes] = {}
        self.value_bytes = 0
        self.blocks: list[list[bytes]] = []
        self.lasts: list[bytes] = []

    def put(self, key: bytes, value: bytes) -> None:
        before = self.rows.get(key)
        self.rows[key] = value
        if before is None:
            self.value_bytes += len(value) + len(key)
            self._insert(key)
        else:
            self.value_bytes += len(value) - len(before)

    def delete(self, key: bytes) -> None:
        value = self.rows.pop(key, None)
        if value is None:
            return
        self.value_bytes -= len(value) + len(key)
        at = bisect_left(self.lasts, key)
        block = self.blocks[at]
        del block[bisect_left(block, key)]
        if block:
            self.lasts[at] = block[-1]
        else:
            del self.blocks[at], self.lasts[at]

    def _insert(self, key: bytes) -> None:
        lasts = self.lasts
        if not lasts or key > lasts[-1]:
            if lasts and len(self.blocks[-1]) < _BLOCK_KEYS_MAX:
                self.blocks[-1].append(key)
                lasts[-1] = key
            else:
                self.blocks.append([key])
                lasts.append(key)
            return
        at = bisect_left(lasts, key)
        block = self.blocks[at]
        insort(block, key)
        if len(block) > _BLOCK_KEYS_MAX:
            half = len(block) // 2
            self.blocks[at : at + 1] = [block[:half], block[half:]]
            lasts[at : at + 1] = [block[half - 1], block[-1]]


class MemoryStore:
    """`Store` without a disk. `reads` and `rows_scanned` count what was asked of it, for tests."""

    def __init__(self) -> None:
        self.reads = 0
        self.rows_scanned = 0
        self._tables = tuple(_SortedTable() for _ in TABLES)
        self._closed = False

    def get(self, table: int, key: bytes) -> bytes | None:
        """See `StoreReader.get`."""
        self._check_open()
        self.reads += 1
        return self._tables[table].rows.get(key)

    def get_many(self, table: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `StoreReader.get_many`."""
        self._check_open()
        self.reads += 1
        rows = self._tables[table].rows
        return [rows.get(key) for key in keys]

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> list[tuple[bytes, bytes]]:
        """See `StoreReader.scan`."""
        self._check_open()
        self.reads += 1
        source = self._tables[table]
        found: list[tuple[bytes, bytes]] = []
        at = bisect_right(source.lasts, after)
        if limit <= 0 or at == len(source.lasts):
            return found
        index = bisect_right(source.blocks[at], after)
        size = 0
        while at < len(source.blocks):
            for key in source.blocks[at][index:]:
                if key > until:
                    self.rows_scanned += len(found)
                    return found
                value = source.rows[key]
                found.append((key, value))
                size += len(value)
                if size > bytes_max or len(found) >= limit:
                    self.rows_scanned += len(found)
                    return found
            at, index = at + 1, 0
        self.rows_scanned += len(found)
        return found

    def count(self, table: int) -> int:
        """See `StoreReader.count`."""
        self._check_open()
        return len(self._tables[table].rows)

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        """See `Store.submit`. The batch is applied, and `on_done` called, before this returns."""
        self._check_open()
        for table, rows in zip(self._tables, batch.tables, strict=True):
            for key, value in rows.items():
                if value is None:
                    table.delete(key)
                else:
                    table.put(key, value)
        on_done(None)

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        self.submit(batch, lambda _: None)

    def sizes(self) -> StoreSizes:
        """See `Store.sizes`: the bytes of keys and values; there is no capacity."""
        self._check_open()
        used = sum(table.value_bytes for table in self._tables)
        return StoreSizes(
            used_bytes=used,
            file_bytes=0,
            max_bytes=0,
            map_bytes=0,
            free_pages=0,
            readers=0,
            entries=tuple(len(table.rows) for table in self._tables),
        )

    def close(self) -> None:
        """See `Store.close`. What was stored is gone."""
        self._closed = True
        self._tables = ()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
