"""A committed store that counts what is read from it and can be harmed on purpose."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

from tenure_storage.store import TABLES, Batch, StoreSizes


class CountingStore:
    """Rows in memory behind the `Store` interface; `gets` and `rows_scanned` are per table."""

    def __init__(self) -> None:
        self._rows: list[dict[bytes, bytes]] = [{} for _ in TABLES]
        self._keys: list[list[bytes]] = [[] for _ in TABLES]
        self.gets = [0] * len(TABLES)
        self.scans = [0] * len(TABLES)
        self.rows_scanned = [0] * len(TABLES)

    def reset_counters(self) -> None:
        """Starts counting afresh."""
        for counter in (self.gets, self.scans, self.rows_scanned):
            counter[:] = [0] * len(TABLES)

    # ---- StoreReader ---------------------------------------------------------------------

    def get(self, table: int, key: bytes) -> bytes | None:
        """The committed value of `key`."""
        self.gets[table] += 1
        return self._rows[table].get(key)

    def get_many(self, table: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """The committed values of `keys`."""
        self.gets[table] += len(keys)
        rows = self._rows[table]
        return [rows.get(key) for key in keys]

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> list[tuple[bytes, bytes]]:
        """Committed rows with after < key <= until, bounded as the interface says."""
        keys, rows = self._keys[table], self._rows[table]
        start = bisect_right(keys, after)
        end = min(bisect_right(keys, until), start + limit)
        found: list[tuple[bytes, bytes]] = []
        size = 0
        for index in range(start, end):
            key = keys[index]
            found.append((key, rows[key]))
            size += len(rows[key])
            if size > bytes_max:
                break
        self.scans[table] += 1
        self.rows_scanned[table] += len(found)
        return found

    def count(self, table: int) -> int:
        """How many rows `table` has."""
        return len(self._keys[table])

    # ---- Store ---------------------------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """Applies `batch` at once."""
        for table, changes in enumerate(batch.tables):
            rows, keys = self._rows[table], self._keys[table]
            fresh = [key for key, value in changes.items() if value is not None and key not in rows]
            gone = {key for key, value in changes.items() if value is None and key in rows}
            for key, value in changes.items():
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = bytes(value)
            if len(gone) == 1:
                del keys[bisect_right(keys, next(iter(gone))) - 1]
            elif gone:
                keys[:] = [key for key in keys if key not in gone]
            if fresh:
                # Timsort finds the two runs: this is a merge, not a sort.
                fresh.sort()
                keys.extend(fresh)
                keys.sort()

    def submit(self, batch: Batch, on_done: Callable[[BaseException | None], None]) -> None:
        """`commit`, and tells."""
        self.commit(batch)
        on_done(None)

    def sizes(self) -> StoreSizes:
        """What the rows occupy, roughly."""
        used = sum(len(k) + len(v) for rows in self._rows for k, v in rows.items())
        return StoreSizes(
            used_bytes=used,
            file_bytes=used,
            max_bytes=1 << 40,
            map_bytes=1 << 40,
            free_pages=0,
            readers=0,
            entries=tuple(len(keys) for keys in self._keys),
        )

    def close(self) -> None:
        """Nothing to let go of."""

    # ---- for tests -----------------------------------------------------------------------

    def rows(self, table: int) -> dict[bytes, bytes]:
        """A copy of a table's rows, not counted as reads."""
        return dict(self._rows[table])

    def flip(self, table: int, key: bytes, at: int = -1) -> None:
        """Harms one byte of a committed row."""
        row = bytearray(self._rows[table][key])
        row[at] ^= 0x55
        self._rows[table][key] = bytes(row)

    def replace(self, table: int, key: bytes, row: bytes) -> None:
        """Puts another row under a key that exists."""
        assert key in self._rows[table]
        self._rows[table][key] = row

    def copy(self) -> CountingStore:
        """Another store with the same committed rows."""
        other = CountingStore()
        other._rows = [dict(rows) for rows in self._rows]
        other._keys = [list(keys) for keys in self._keys]
        return other
