"""`backup.create`: a compact copy of the store, made on another thread while the broker works."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tenure_protocol.errors import BackupFailed, BadRequest, BrokerError
from tenure_server.log import get_log
from tenure_storage.backup import backup_to
from tenure_storage.capacity import disk_free_bytes, reserve_bytes_for
from tenure_storage.journaled_store import JournaledStore
from tenure_storage.store import Store, StoreError

if TYPE_CHECKING:
    from tenure_server.connection import Connection
    from tenure_server.hub import Hub

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class Backups:
    """Makes backups, one at a time."""

    def __init__(self, hub: Hub, store: Store) -> None:
        self._hub = hub
        self._store = store
        self._at_work: asyncio.Task[None] | None = None

    @property
    def busy(self) -> bool:
        """Whether a backup is being made."""
        return self._at_work is not None

    def create(self, connection: Connection, request_id: int, name: object) -> None:
        """Starts a backup called `name` (None: by the time); the reply comes when it is made."""
        try:
            target = self._target(name)
        except BrokerError as error:
            connection.refuse(request_id, error)
            return
        self._at_work = asyncio.create_task(self._make(connection, request_id, target))

    def _target(self, name: object) -> Path:
        if name is None:
            moment = datetime.fromtimestamp(self._hub.clock().wall_ms / 1000, UTC)
            name = moment.strftime("tenure-%Y%m%d-%H%M%S")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadRequest("a backup's name is 1 to 64 of a-z 0-9 . _ -, first a letter or digit")
        if not isinstance(self._store, JournaledStore):
            raise BackupFailed("this broker keeps everything in memory; there is nothing to copy")
        if self.busy:
            raise BackupFailed("another backup is being made", retryable=True)
        target = self._hub.config.backup_dir / name
        if target.exists():
            raise BackupFailed(f"there is a backup called {name!r} already")
        sizes = self._store.sizes()
        needed = sizes.used_bytes + reserve_bytes_for(sizes.max_bytes)
        free = disk_free_bytes(target)
        if free < needed:
            # A copy that fills the disk would take the broker down with it.
            raise BackupFailed(
                f"{target.parent} has {free} bytes free; the backup and a reserve need {needed}"
            )
        return target

    async def _make(self, connection: Connection, request_id: int, target: Path) -> None:
        hub = self._hub
        began_ms = hub.clock().mono_ms
        try:
            assert isinstance(self._store, JournaledStore)
            # On this thread: what was confirmed before the copy began has to be in it.
            self._store.flush()
            manifest = await asyncio.to_thread(backup_to, self._store, target)
        except (StoreError, OSError, RuntimeError, MemoryError) as error:
            # RuntimeError: there is no thread left to make it on.
            get_log().error("backup_failed", path=str(target), error=str(error))
            connection.refuse(request_id, BackupFailed(str(error) or repr(error)))
        else:
            now = hub.clock()
            took_ms = now.mono_ms - began_ms
            hub.counters.backup_at_ms = now.wall_ms
            get_log().info("backup_made", path=str(target), bytes=manifest.bytes, ms=took_ms)
            connection.answer(
                request_id, 0, {"path": str(target), "bytes": manifest.bytes, "ms": took_ms}
            )
        finally:
            self._at_work = None
            hub.pump.wake()
