"""The durable store with a journal in front: confirmed after one sync, kept in LMDB behind.

    submit ─► record in the journal ─► one sync ─► on_done
                 └─► overlay (read before LMDB) ─ every now and then ─► one LMDB commit of many batches

Reads see LMDB with the overlay on top, so nobody can tell what LMDB does not have yet. What was
put and deleted in between never gets there. Batches too large for the journal to help go to
LMDB directly, together with what waits for it. A start applies what the journal has and LMDB
has not; an orderly end leaves nothing to apply (docs/decisions/0009-journal.md).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from tenure_storage.capacity import RESERVE_NAME
from tenure_storage.environment import LmdbError
from tenure_storage.journal import (
    JOURNAL_KEY,
    Journal,
    JournalRow,
    open_journal,
    pack_journal_row,
    unpack_journal_row,
)
from tenure_storage.journal_writer import JournalWriter
from tenure_storage.layout import Damaged
from tenure_storage.lmdb_store import LmdbStore, open_lmdb
from tenure_storage.overlay import Overlay, merged_scan
from tenure_storage.store import META, TABLES, Batch, StoreError, StoreSizes, StoreUnwritable
from tenure_storage.writer import commit_through

OnDone = Callable[[BaseException | None], None]

RECORD_ROWS_MAX = 512
"""Batches of more rows go to LMDB at once: beside them a second sync is nothing."""
RECORD_BYTES_MAX = 256 * 1024
"""The same for the length of a record."""
HERE_BYTES_MAX = 16 * 1024
"""The longest record that is written on the caller's thread."""
BEHIND_ROWS_MAX = 1_024
"""So many rows wait for LMDB until a commit of them is begun: more would stop the loop for long."""
KEY_BYTES_MAX = 511
"""The longest key that LMDB takes."""
BEHIND_BYTES_MAX = 1024 * 1024
"""The same for the length of their values."""
BEHIND_MS_MAX = 200
"""So long they wait, if something is submitted then; in an idle store they wait in the journal."""

_pack: Any = msgpack.Packer(use_bin_type=True, autoreset=True).pack


def open_journaled(path: Path, *, max_bytes: int, map_bytes: int | None = None) -> JournaledStore:
    """Opens the store in the data directory `path` and applies what its journal holds beyond it.

    Arguments and errors are those of `open_lmdb`.
    """
    inner = open_lmdb(path, max_bytes=max_bytes, map_bytes=map_bytes)
    try:
        row = _journal_row(inner, path)
        journal = open_journal(path, row)
    except BaseException:
        inner.close()
        raise
    try:
        number = _apply(inner, journal, 0 if row is None else row.number)
    except BaseException:
        journal.close()
        inner.close()
        raise
    return JournaledStore(inner, journal, number)


def _journal_row(inner: LmdbStore, path: Path) -> JournalRow | None:
    row = inner.get(META, JOURNAL_KEY)
    if row is None:
        return None
    try:
        return unpack_journal_row(row)
    except (Damaged, ValueError, TypeError) as error:
        raise StoreError(
            f"the journal row of the store in {path} is damaged; restore it from a backup"
        ) from error


def _apply(inner: LmdbStore, journal: Journal, number: int) -> int:
    """Commits what the journal has beyond record `number`; the number of the last record.

    Also notes in LMDB that from now on the journal counts.
    """
    overlay = Overlay()
    for following, content in journal.read_after(number):
        overlay.add(_read(content), len(content))
        number = following
    try:
        inner.commit(_with_journal_row(overlay, journal.row(number)))
    except LmdbError as error:
        raise StoreUnwritable(
            f"cannot write to the store in {inner.path}: {error}. Its journal keeps what was "
            f"confirmed; if the disk is full, make room, if need be by deleting {RESERVE_NAME}"
        ) from error
    return number


def _read(content: bytes) -> list[dict[bytes, bytes | None]]:
    tables: list[dict[bytes, bytes | None]] = [{} for _ in TABLES]
    for table, rows in msgpack.unpackb(content):
        tables[table] = dict(rows)
    return tables


def _with_journal_row(overlay: Overlay, row: JournalRow) -> Batch:
    batch = Batch(row.number, overlay.tables)
    batch.tables[META][JOURNAL_KEY] = pack_journal_row(row)
    return batch


class JournaledStore:
    """`Store` over a journal and an `LmdbStore`. Made by `open_journaled`.

    All methods but `copy_to` are for one thread, that of the event loop.
    """

    def __init__(self, inner: LmdbStore, journal: Journal, number: int) -> None:
        self.path = inner.path
        self.max_bytes = inner.max_bytes
        self._inner = inner
        self._journal = journal
        self._number = number
        """Of the last record."""
        self._overlay = Overlay()
        """What the journal has and no LMDB commit has begun to take over."""
        self._crossing: Overlay | None = None
        """What the LMDB commit in flight takes over."""
        self._crossing_number = 0
        self._crossed = threading.Event()
        """Set by LMDB's writer when that commit is over."""
        self._overlay_since_ms = 0
        self._failure: BaseException | None = None
        self._confirming = False
        self._closed = False
        self._writer = JournalWriter(journal)

    # ---- reading ---------------------------------------------------------------------------

    def get(self, table: int, key: bytes) -> bytes | None:
        """See `StoreReader.get`."""
        for overlay in self._overlays():
            rows = overlay.tables[table]
            if key in rows:
                return rows[key]
        return self._inner.get(table, key)

    def get_many(self, table: int, keys: Sequence[bytes]) -> list[bytes | None]:
        """See `StoreReader.get_many`."""
        if not any(overlay.tables[table] for overlay in self._overlays()):
            return self._inner.get_many(table, keys)
        return [self.get(table, key) for key in keys]

    def scan(
        self, table: int, after: bytes, until: bytes, limit: int, bytes_max: int = 1 << 22
    ) -> list[tuple[bytes, bytes]]:
        """See `StoreReader.scan`."""
        over: dict[bytes, bytes | None] = {}
        for overlay in reversed(self._overlays()):
            over.update(overlay.between(table, after, until))
        if not over:
            return self._inner.scan(table, after, until, limit, bytes_max)
        return merged_scan(self._inner, over, table, after, until, limit, bytes_max)

    def count(self, table: int) -> int:
        """See `StoreReader.count`. Reads the rows that LMDB does not have yet."""
        # A commit that ends between these reads would be counted half.
        self._wait_for_crossing()
        new = sum(
            (value is not None) - (self._inner.get(table, key) is not None)
            for key, value in self._overlay.tables[table].items()
        )
        return self._inner.count(table) + new

    def sizes(self) -> StoreSizes:
        """See `Store.sizes`. What waits for LMDB counts as used; `entries` are those of LMDB."""
        sizes = self._inner.sizes()
        waiting = sum(overlay.bytes for overlay in self._overlays())
        return replace(sizes, used_bytes=sizes.used_bytes + waiting)

    def _overlays(self) -> list[Overlay]:
        self._notice_crossing()
        if self._crossing is None:
            return [self._overlay] if self._overlay.rows else []
        return [self._overlay, self._crossing]

    # ---- writing ---------------------------------------------------------------------------

    def submit(self, batch: Batch, on_done: OnDone) -> None:
        """See `Store.submit`. `on_done` may be called on a writer's thread; it must not submit."""
        self._check_open()
        if self._confirming:
            raise StoreError("a batch is being committed; one at a time")
        self._notice_crossing()
        if self._goes_direct(batch):
            self._submit_directly(batch, on_done)
            return
        filled = [(table, rows) for table, rows in enumerate(batch.tables) if rows]
        if not all([_fits(rows) for _, rows in filled]):  # noqa: C419 (a generator is slower)
            # Found now: in the journal it would be confirmed, and then keep LMDB from following.
            self._failure = StoreError(f"a key is empty or longer than {KEY_BYTES_MAX} bytes")
            on_done(self._failure)
            return
        content: bytes = _pack([[table, list(rows.items())] for table, rows in filled])
        start = None
        if len(content) <= RECORD_BYTES_MAX:
            start = self._journal.place(self._number + 1, len(content))
        if start is None:
            self._submit_directly(batch, on_done)
            return
        self._number += 1
        record = self._journal.record(self._number, content)
        if len(record) <= HERE_BYTES_MAX and self._writer.quick:
            self._failure = self._writer.write_here(start, record)
            self._tell(on_done, self._failure)
            if self._failure is not None:
                return
        else:
            self._confirming = True
            self._writer.write(start, record, self._confirmer(on_done))
        # Filled while the disk works on the record, or the client on the reply.
        if not self._overlay.rows:
            self._overlay_since_ms = _mono_ms()
        self._overlay.add(batch.tables, len(content))
        if self._crossing is None and self._due():
            self._cross()

    def _goes_direct(self, batch: Batch) -> bool:
        # While an LMDB commit is in flight the journal is the only way that need not wait for it.
        return self._crossing is None and sum(map(len, batch.tables)) > RECORD_ROWS_MAX

    def _confirmer(self, on_done: OnDone) -> OnDone:
        def done(error: BaseException | None) -> None:
            if error is not None:
                # Whether the disk has the record is unknown: this was the last one.
                self._failure = self._failure or error
            self._confirming = False
            self._tell(on_done, error)

        return done

    def _tell(self, on_done: OnDone, error: BaseException | None) -> None:
        try:
            on_done(error)
        except BaseException as raised:
            # Nobody learned what became of the batch; going on would hide that.
            self._failure = self._failure or raised

    def _submit_directly(self, batch: Batch, on_done: OnDone) -> None:
        self._wait_for_crossing()
        self._check_open()
        # The record numbers go on, so that what the journal still holds is known to be old.
        self._number += 1
        if self._overlay.rows:
            self._overlay.add(batch.tables, 0)
        else:
            self._overlay = Overlay(batch.tables)
        self._confirming = True
        self._cross(self._confirmer(on_done))

    def _due(self) -> bool:
        return (
            self._overlay.rows >= BEHIND_ROWS_MAX
            or self._overlay.bytes >= BEHIND_BYTES_MAX
            or self._journal.half_full
            or _mono_ms() - self._overlay_since_ms >= BEHIND_MS_MAX
        )

    def _cross(self, on_done: OnDone | None = None) -> None:
        """Begins an LMDB commit of the overlay; `on_done` if somebody waits for it."""
        batch = _with_journal_row(self._overlay, self._journal.row(self._number))
        self._crossing, self._overlay = self._overlay, Overlay()
        self._crossing_number = self._number
        self._crossed.clear()

        def crossed(error: BaseException | None) -> None:
            if error is not None:
                self._failure = self._failure or error
            self._crossed.set()
            if on_done is not None:
                on_done(error)

        try:
            self._inner.submit(batch, crossed)
        except StoreError as error:
            crossed(error)

    def _notice_crossing(self) -> None:
        """Forgets what LMDB has by now; after a failed commit that is not known, so nothing."""
        if self._crossing is not None and self._crossed.is_set() and self._failure is None:
            self._journal.free(self._crossing_number)
            self._crossing = None

    def _wait_for_crossing(self) -> None:
        if self._crossing is not None:
            self._crossed.wait()
            self._notice_crossing()

    def commit(self, batch: Batch) -> None:
        """See `Store.commit`."""
        commit_through(self.submit, batch)

    def flush(self) -> None:
        """Waits until LMDB has everything. Raises `StoreError`."""
        self._check_open()
        self._wait_for_crossing()
        if self._overlay.rows:
            self._check_open()
            self._cross()
            self._wait_for_crossing()
        self._check_open()

    # ---- the rest --------------------------------------------------------------------------

    def copy_to(self, target: Path) -> int:
        """See `LmdbStore.copy_to`; `flush` first, on the thread that submits."""
        return self._inner.copy_to(target)

    def close(self) -> None:
        """See `Store.close`. Afterwards LMDB has everything, unless something failed before."""
        if self._closed:
            return
        self._closed = True
        self._writer.stop()
        try:
            self._wait_for_crossing()
            if self._failure is None:
                row = self._journal.row(self._number)._replace(waiting_bytes=0)
                self._inner.commit(_with_journal_row(self._overlay, row))
        finally:
            self._inner.close()
            self._journal.close()

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store in {self.path} is closed")
        if self._failure is not None:
            raise StoreError(f"the store can no longer be written: {self._failure}")


def _fits(rows: dict[bytes, bytes | None]) -> bool:
    return b"" not in rows and max(map(len, rows)) <= KEY_BYTES_MAX


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000
