"""The border to LMDB: opening an environment, and nothing of it elsewhere but its types.

What is never used here, and why: `sync=False` and `metasync=False` lose confirmed commits,
`writemap=True` turns a full disk into a signal. Transactions are short, but for the write
transaction, which waits for its batch (`tenure_storage.writer`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from pathlib import Path
from typing import TypeAlias

import lmdb

from tenure_storage.store import TABLES, StoreError, StoreUnwritable

DATA_NAME = "data.mdb"
"""The data file within a data directory. LMDB names it."""

COMPACTING_NAME = f"{DATA_NAME}.compacting"
"""What a compaction writes; under this name it is not the store yet, and may be half a copy."""

READERS_MAX = 126
"""Read transactions at one time; the broker needs two or three."""

Environment = lmdb.Environment
Transaction: TypeAlias = "lmdb.Transaction[bytes]"
Table = lmdb._Database
LmdbError = lmdb.Error
MapFull = lmdb.MapFullError
TableMissing = lmdb.NotFoundError


def engine_version() -> tuple[int, int, int]:
    """The version of the LMDB library that this process uses."""
    return lmdb.version()


def open_environment(path: Path, *, map_bytes: int, readonly: bool = False) -> Environment:
    """Opens the environment in the directory `path`; creates it unless `readonly`.

    A read-only one takes no LMDB locks: whoever opens it holds the directory's own lock.
    Raises `StoreError`.
    """
    try:
        return lmdb.open(
            str(path),
            map_size=map_bytes,
            max_dbs=len(TABLES) + 3,
            max_readers=READERS_MAX,
            max_spare_txns=2,
            mode=0o600,
            readonly=readonly,
            lock=not readonly,
            create=not readonly,
        )
    except lmdb.Error as error:
        problem = f"cannot open {path / DATA_NAME}: {error}{_advice(error)}"
        raise store_error(error, problem) from error


def store_error(error: lmdb.Error, problem: str) -> StoreError:
    """`problem` as a `StoreError`: `StoreUnwritable` if the system failed, not what is stored.

    LMDB's own errors have types of their own; those of the system do not, but for two.
    """
    of_system = type(error) in (lmdb.Error, lmdb.DiskError, lmdb.MemoryError)
    return StoreUnwritable(problem) if of_system else StoreError(problem)


def _advice(error: lmdb.Error) -> str:
    if getattr(error, "code", 0) == errno.ENOMEM or "allocate memory" in str(error):
        return (
            "; the store needs address space for its capacity: lower max_bytes, or raise the "
            "limit on address space (ulimit -v)"
        )
    return ""


def open_tables(env: Environment, *, create: bool, count: int = len(TABLES)) -> tuple[Table, ...]:
    """The first `count` tables. Raises `StoreError` when one is missing and not to be created."""
    try:
        if not create:
            return tuple(env.open_db(name.encode(), create=False) for name in TABLES[:count])
        with env.begin(write=True) as txn:
            return tuple(env.open_db(name.encode(), txn=txn) for name in TABLES)
    except lmdb.Error as error:
        raise store_error(error, f"no tables in the store in {env.path()}: {error}") from error


def make_directory(path: Path) -> None:
    """Makes a directory, with those above it that are missing, and makes their names durable.

    That of a directory which is there already may not be: whoever made it can have been killed
    before its sync. Raises `OSError`.
    """
    there, missing = path, list[Path]()
    while not there.is_dir() and there != there.parent:
        missing.append(there)
        there = there.parent
    with contextlib.suppress(PermissionError):
        # Where we may not look we made nothing.
        sync_directory(there.parent)
    for each in reversed(missing):
        if each == path:
            each.mkdir(mode=0o700)
        else:
            each.mkdir()
        sync_directory(each.parent)


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _give_memory_back() -> None:
    # A copy takes two megabytes that begin at a page. glibc keeps such a piece when it is freed,
    # finds that it does not fit the next time, and takes another one: 27 MB after 13 copies
    # (measured). Other C libraries have no such call, and need none.
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def copy_compacted(env: Environment, target: Path) -> int:
    """Writes a compact copy of the committed state to the new file `target`; its size in bytes.

    The copy is one long read transaction: it stops no commit, but pages freed meanwhile are not
    used again until it ends. The file is on the disk when this returns.
    """
    handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        # A copy that is not compact would wait for the write lock, which the writer keeps.
        env.copyfd(handle, compact=True)
        os.fsync(handle)
        return os.fstat(handle).st_size
    except lmdb.Error as error:
        raise StoreError(f"cannot copy the store to {target}: {error}") from error
    finally:
        os.close(handle)
        _give_memory_back()
