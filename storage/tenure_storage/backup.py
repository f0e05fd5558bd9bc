"""Backups: a compact copy of one committed state, with a manifest that proves it whole.

    backup_to   partial directory ─ copy ─ fsync ─ manifest ─ fsync ─ rename
    restore     check the manifest ─ copy, hashing ─ compare ─ fsync ─ rename

A directory under its final name is complete.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tenure_storage.datafile import check_data_file
from tenure_storage.environment import DATA_NAME, engine_version, sync_directory
from tenure_storage.journal import JOURNAL_NAME
from tenure_storage.journaled_store import JournaledStore
from tenure_storage.lock import LOCK_NAME, DirectoryLock
from tenure_storage.store import FORMAT, StoreError

MANIFEST_NAME = "manifest.json"
"""The manifest within a backup directory."""

_CHUNK_BYTES = 1 << 20


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
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)
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
        shutil.rmtree(partial, ignore_errors=True)
    return manifest


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

    Raises `StoreError`; then there is no store in `path`.
    """
    manifest = read_manifest(backup)
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(entry.name != LOCK_NAME for entry in path.iterdir()):
        raise StoreError(f"{path} is not empty; restore into a new data directory")
    with DirectoryLock(path):
        beside = path / f"{DATA_NAME}.restoring"
        try:
            size, digest = _copy_synced(backup / DATA_NAME, beside)
            if (size, digest) != (manifest.bytes, manifest.sha256):
                raise StoreError(
                    f"the backup {backup} is damaged: its data file of {size} bytes is not the "
                    f"one of {manifest.bytes} bytes that its manifest names"
                )
            check_data_file(beside)
            # The copy is complete: an empty journal says that nothing beyond it is expected.
            (path / JOURNAL_NAME).touch(0o600)
            beside.rename(path / DATA_NAME)
            sync_directory(path)
            sync_directory(path.parent)
        except OSError as error:
            raise StoreError(f"cannot restore {backup} to {path}: {error}") from error
        finally:
            beside.unlink(missing_ok=True)
    return manifest


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
