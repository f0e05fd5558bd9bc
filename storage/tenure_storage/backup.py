"""Backups: a compact copy of one committed state, with a manifest that proves it whole.

    backup_to   partial directory ─ copy ─ fsync ─ manifest ─ fsync ─ rename
    restore     check the manifest ─ copy, hashing ─ compare ─ fsync ─ rename

A directory under its final name is complete. What a killed process left under a partial name
is not locked any more, and the next backup removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tenure_storage.datafile import check_data_file
from tenure_storage.environment import (
    DATA_NAME,
    engine_version,
    make_directory,
    sync_directory,
)
from tenure_storage.journal import JOURNAL_NAME
from tenure_storage.journaled_store import JournaledStore
from tenure_storage.lock import LOCK_NAME, DirectoryLock
from tenure_storage.store import FORMAT, StoreError

MANIFEST_NAME = "manifest.json"
"""The manifest within a backup directory."""

_CHUNK_BYTES = 1 << 20
_PARTIAL = ".partial-"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup is."""

    format: int
    """The format of keys and rows."""
    lmdb: str
    """The version of LMDB that wrote it."""
    created_at_ms: int
    bytes: int
    """The size of the data file."""
    sha256: str
    """The SHA-256 of the data file, in hexadecimal."""


def backup_to(store: JournaledStore, target: Path) -> Manifest:
    """Writes a backup of an open store to the new directory `target`; commits go on meanwhile.

    What it must hold was flushed before, on the thread that submits.

    Takes as long as writing the jobs does: to be called in a thread of its own. Raises
    `StoreError`; what was written under a partial name is then gone.
    """
    if target.exists():
        raise StoreError(f"{target} exists already; a backup is a new directory")
    partial = target.with_name(f".{target.name}{_PARTIAL}{os.getpid()}")
    lock = None
    try:
        _remove_abandoned(target.parent)
        make_directory(partial)
        lock = _lock(partial)
        created_at_ms = time.time_ns() // 1_000_000
        size = store.copy_to(partial / DATA_NAME)
        manifest = Manifest(
            FORMAT,
            ".".join(map(str, engine_version())),
            created_at_ms,
            size,
            _sha256(partial / DATA_NAME),
        )
        _write_synced(partial / MANIFEST_NAME, json.dumps(asdict(manifest), indent=2) + "\n")
        sync_directory(partial)
        partial.rename(target)
        sync_directory(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write a backup to {target}: {error}") from error
    finally:
        _remove(partial)
        if lock is not None:
            os.close(lock)
    return manifest


def _lock(partial: Path) -> int | None:
    """A handle that says that somebody is writing this; None if it cannot be had."""
    try:
        handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_abandoned(directory: Path) -> None:
    for partial in directory.glob(f".*{_PARTIAL}*"):
        # No lock: somebody is writing it. Or locks do not work there; then nothing is removed.
        handle = _lock(partial)
        if handle is not None:
            _remove(partial)
            os.close(handle)


def _remove(partial: Path) -> None:
    # Not shutil.rmtree: it needs descriptors, and there may be none left.
    with contextlib.suppress(OSError):
        (partial / DATA_NAME).unlink(missing_ok=True)
        (partial / MANIFEST_NAME).unlink(missing_ok=True)
        partial.rmdir()


def read_manifest(backup: Path) -> Manifest:
    """The manifest of a backup directory. Raises `StoreError` if there is none that can be used."""
    try:
        fields = json.loads((backup / MANIFEST_NAME).read_text())
        manifest = Manifest(**{name: fields[name] for name in Manifest.__dataclass_fields__})
    except FileNotFoundError as error:
        raise StoreError(f"{backup} is not a backup: it has no {MANIFEST_NAME}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"the manifest of the backup {backup} cannot be read: {error}") from error
    if manifest.format > FORMAT:
        raise StoreError(
            f"the backup {backup} has format {manifest.format}, and this Tenure knows formats up "
            f"to {FORMAT}: it was made by a newer Tenure"
        )
    return manifest


def restore(backup: Path, path: Path) -> Manifest:
    """Makes the data directory `path` from a backup. The directory must be new or empty.

    What an interrupted restore left there does not count. Raises `StoreError`; then there is no
    store in `path`.
    """
    manifest = read_manifest(backup)
    try:
        make_directory(path)
    except OSError as error:
        raise StoreError(f"cannot restore {backup} to {path}: {error}") from error
    with DirectoryLock(path):
        beside = path / f"{DATA_NAME}.restoring"
        if not all(_is_no_store(entry, beside) for entry in path.iterdir()):
            raise StoreError(f"{path} is not empty; restore into a new data directory")
        try:
            size, digest = _copy_synced(backup / DATA_NAME, beside)
            if (size, digest) != (manifest.bytes, manifest.sha256):
                raise StoreError(f"the backup {backup} is damaged: {_damage(size, manifest)}")
            check_data_file(beside)
            # The copy is complete: an empty journal says that nothing beyond it is expected.
            (path / JOURNAL_NAME).touch(0o600)
            # Before there is a data file: a power cut could keep that name and not the other.
            sync_directory(path)
            beside.rename(path / DATA_NAME)
            sync_directory(path)
            sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"cannot restore {backup} to {path}: {error}") from error
        finally:
            beside.unlink(missing_ok=True)
    return manifest


def _damage(size: int, manifest: Manifest) -> str:
    if size != manifest.bytes:
        return f"its data file has {size} bytes, and its manifest names {manifest.bytes}"
    return "its data file does not have the checksum (SHA-256) that its manifest names"


def _is_no_store(entry: Path, beside: Path) -> bool:
    """Whether an entry of a data directory is the lock, or what an interrupted restore left."""
    is_empty_journal = entry.name == JOURNAL_NAME and entry.stat().st_size == 0
    return entry.name == LOCK_NAME or entry == beside or is_empty_journal


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy_synced(source: Path, target: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with source.open("rb") as reading, os.fdopen(handle, "wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            digest.update(chunk)
            writing.write(chunk)
            size += len(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    return size, digest.hexdigest()


def _write_synced(path: Path, text: str) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
