"""What stands in for LMDB: rows that change by whole commits, each with its moments to fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from tenure_storage.environment import LmdbError
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import TABLES, Batch, StoreError, StoreSizes
from tests.sim.ends import CrashError

if TYPE_CHECKING:
    from tests.sim.disk import Disk, Name
    from tests.sim.loop import SimLoop

OnDone = Callable[[BaseException | None], None]


class LmdbRows:
    """The committed rows. They outlive every process and power cut: a commit is atomic."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.commits = 0


class SimLmdb:
    """`LmdbStore` for one process: the same contract, commits that take time and may fail."""

    def __init__(self, path: Name, disk: Disk, loop: SimLoop, max_bytes: int) -> None:
        self.path: Any = path
        self.max_bytes = max_bytes
        self._disk = disk
        self._loop = loop
        self._rows = disk.rows
        self._failure: BaseException | None = None
        self._closed = False
        self._flight: tuple[Batch, OnDone] | None = None
        self._told: tuple[OnDone, BaseException | None] | None = None
        self.dead = False
        self.delay_us: Callable[[], int] = lambda: 1_000

    # ---- reading -------------------------------------------------------------------------

    def get(self, table: int, key: bytes) -> bytes | None:
        """See `StoreReader.get`."""
        self._check_open()
        return self._rows.store.get(table, key)

    def get_many(self, table: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `StoreReader.get_many`."""
        self._check_open()
        return self._rows.store.get_many(table, keys)

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> list[tuple[bytes, bytes]]:
        """See `StoreReader.scan`."""
        self._check_open()
        return self._rows.store.scan(table, after, until, limit, bytes_max)

    def count(self, table: int) -> int:
        """See `StoreReader.count`."""
        self._check_open()
        return self._rows.store.count(table)

    def sizes(self) -> StoreSizes:
        """See `Store.sizes`."""
        self._check_open()
        used = self._rows.store.sizes().used_bytes
        entries = tuple(self._rows.store.count(table) for table in range(len(TABLES)))
        return StoreSizes(used, used, self.max_bytes, 4 * self.max_bytes, 0, 1, entries)

    # ---- writing: filled now, committed a little later, told later still -------------------

    def submit(self, batch: Batch, on_done: OnDone) -> None:
        """See `Store.submit`."""
        self._check_open()
        if self._failure is not None:
            raise StoreError(f"the store can no longer be written: {self._failure}")
        if self._flight is not None or self._told is not None:
            raise StoreError("a batch is being committed; one at a time")
        self._flight = (Batch(batch.number, tuple(dict(rows) for rows in batch.tables)), on_done)
        self._disk.point("lmdb.begun")
        self._loop.call_later(self.delay_us() / 1e6, self._commit_later, self._flight)

    def _commit_later(self, flight: tuple[Batch, OnDone]) -> None:
        if self._flight is flight and not self.dead:
            self._guarded(self._commit_flight)
            self._loop.call_later(self.delay_us() / 1e6, self._tell_later)

    def _tell_later(self) -> None:
        if not self.dead:
            self._guarded(self._tell)

    def _guarded(self, step: Callable[[], None]) -> None:
        try:
            step()
        except CrashError:
            self.dead = True

    def _commit_flight(self) -> None:
        if self._flight is None:
            return
        (batch, on_done), self._flight = self._flight, None
        self._told = (on_done, self._commit(batch))

    def _commit(self, batch: Batch) -> BaseException | None:
        self._disk.point("lmdb.before_commit")
        error = self._disk.error("lmdb.commit")
        if error is None or error.errno == 5:
            # After an I/O error it may be there, or not: with EIO it is, with ENOSPC it is not.
            self._rows.store.commit(batch)
            self._rows.commits += 1
            self._disk.point("lmdb.after_commit")
        if error is None:
            return None
        self._failure = LmdbError(f"commit: {error}")
        return self._failure

    def _tell(self) -> None:
        if self._told is not None:
            (on_done, error), self._told = self._told, None
            self._disk.point("lmdb.before_told")
            on_done(error)

    def finish(self) -> None:
        """Somebody waits for the commit in flight: it ends now."""
        self._commit_flight()
        self._tell()

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        self._check_open()
        self.finish()
        if self._failure is not None:
            raise StoreError(f"the store can no longer be written: {self._failure}")
        error = self._commit(Batch(batch.number, tuple(dict(rows) for rows in batch.tables)))
        if error is not None:
            raise error

    def copy_to(self, target: object) -> int:
        """No backups here."""
        raise StoreError("a simulated store makes no backups")

    def close(self) -> None:
        """See `Store.close`."""
        if not self._closed:
            self.finish()
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError("the store is closed")
