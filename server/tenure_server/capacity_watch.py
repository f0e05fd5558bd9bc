"""Watches how full the store is: at `full` enqueues are refused, and everything else goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tenure_server.log import get_log
from tenure_storage.capacity import (
    CapacityGuard,
    Level,
    disk_free_bytes,
    next_level,
    reserve_bytes_for,
)
from tenure_storage.environment import engine_version
from tenure_storage.journaled_store import JournaledStore
from tenure_storage.store import TABLES, Store, StoreError, StoreSizes

if TYPE_CHECKING:
    from tenure_server.hub import Hub

COMMIT_CHECKS_APART_MS = 50
"""Commits look at the store no oftener: what arrives in between fits into the store's headroom."""


class CapacityWatch:
    """The level of one store: "ok", "warn" (above 80 %) or "full"."""

    def __init__(self, hub: Hub, store: Store) -> None:
        self._hub = hub
        self._store = store
        self._guard: CapacityGuard | None = None
        self._checked_ms = 0
        self._memory_max_bytes = 0
        self.level: Level = "ok"
        self.lmdb_version = "none"
        if isinstance(store, JournaledStore):
            self._guard = CapacityGuard(
                store.path, reserve_bytes=reserve_bytes_for(store.max_bytes)
            )
            self.lmdb_version = ".".join(map(str, engine_version()))
        else:
            self._memory_max_bytes = hub.config.store.max_bytes

    def after_commit(self, mono_ms: int) -> None:
        """A batch was committed: looks, if it was not looked at a moment ago."""
        if mono_ms - self._checked_ms >= COMMIT_CHECKS_APART_MS:
            self.check(mono_ms)

    def check(self, mono_ms: int) -> None:
        """Looks at the store and the disk, and acts on a change."""
        self._checked_ms = mono_ms
        try:
            if self.level == "full" and isinstance(self._store, JournaledStore):
                # What acks give back is only seen once LMDB has it.
                self._store.flush()
            sizes = self.sizes()
        except StoreError as error:
            # Nobody may have asked for anything since LMDB failed behind the journal.
            self._hub.pump.fault(error)
            return
        before = self.level
        free = 0
        if self._guard is not None:
            free = disk_free_bytes(self._guard.path)
            self.level = self._guard.update(sizes, disk_free=free)
        elif sizes.max_bytes:
            self.level = next_level(sizes, disk_free=1, disk_floor_bytes=0, before=before)
        if self.level != before:
            self._tell(before, sizes, free)

    def sizes(self) -> StoreSizes:
        """What the store occupies."""
        sizes = self._store.sizes()
        if self._memory_max_bytes:
            return replace(sizes, max_bytes=self._memory_max_bytes)
        return sizes

    def entries(self) -> dict[str, int]:
        """How many rows each table has."""
        return dict(zip(TABLES, self._store.sizes().entries, strict=True))

    def _tell(self, before: Level, sizes: StoreSizes, free: int) -> None:
        engine = self._hub.engine
        engine.store_full = self.level == "full"
        fields = {
            "used_bytes": sizes.used_bytes,
            "max_bytes": sizes.max_bytes,
            "disk_free_bytes": free,
        }
        if self.level == "full":
            get_log().error("store_full", consequence="enqueues are refused", **fields)
        elif self.level == "warn" and before == "ok":
            get_log().warning("store_nearly_full", **fields)
        else:
            get_log().info("store_has_room", level=self.level, **fields)
        # Reserves and jobs went on all the time; only producers may want to know.
        self._hub.pump.wake()
