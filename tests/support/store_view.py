"""The store's own verification, over a store in memory."""

from __future__ import annotations

from collections.abc import Iterator

from tenure_storage.findings import Findings
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import META, TABLES
from tenure_storage.verify_rows import check_rows


class StoreView:
    """A store in memory as the verification reads it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def get(self, table: int, key: bytes) -> bytes | None:
        """The row of a key, or None."""
        return self._store.get(table, key) if key else None

    def rows(self, table: int) -> Iterator[tuple[bytes, bytes]]:
        """Every row of a table, in key order."""
        return iter(self._store.scan(table, b"", b"\xff" * 600, 1 << 30, 1 << 40))


def verified(store: MemoryStore) -> Findings:
    """What the verification finds in it."""
    findings = Findings()
    empty = not any(store.count(table) for table in range(len(TABLES)) if table != META)
    check_rows(StoreView(store), findings, empty=empty)
    return findings
