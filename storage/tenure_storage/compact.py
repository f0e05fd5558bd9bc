"""Compaction: the data file of a store never shrinks by itself; a compact copy replaces it."""

from __future__ import annotations

from pathlib import Path

from tenure_storage.datafile import check_data_file
from tenure_storage.environment import (
    COMPACTING_NAME,
    DATA_NAME,
    copy_compacted,
    open_environment,
    sync_directory,
)
from tenure_storage.format import check_format, read_format
from tenure_storage.lock import DirectoryLock
from tenure_storage.store import StoreError


def compact(path: Path) -> tuple[int, int]:
    """Compacts the store in the data directory `path`; its data file's bytes before and after.

    No broker may be using it. The disk must have room for the copy. Until the copy is whole and
    durable the old file stays; a crash at any moment leaves one of the two. Raises `StoreError`.
    """
    data = path / DATA_NAME
    if not data.exists():
        raise StoreError(f"there is no store in {path}")
    beside = path / COMPACTING_NAME
    with DirectoryLock(path):
        before = data.stat().st_size
        check_data_file(data)
        try:
            env = open_environment(path, map_bytes=max(before, 1 << 20), readonly=True)
            try:
                check_format(read_format(env, path), path)
                after = copy_compacted(env, beside)
            finally:
                env.close()
            check_data_file(beside)
            beside.rename(data)
            sync_directory(path)
        except OSError as error:
            raise StoreError(f"cannot compact the store in {path}: {error}") from error
        finally:
            beside.unlink(missing_ok=True)
    return before, after
