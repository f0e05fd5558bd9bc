"""One process per data directory: a lock of our own, which says who holds it.

LMDB's own lock file allows several processes, and lets a second one in once the file is
deleted. This lock is on a file that is never deleted, and ends with the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from tenure_storage.store import StoreError, StoreLocked

LOCK_NAME = "tenure.lock"
"""The lock file within a data directory; it holds the process id of its holder."""

_NETWORK_KINDS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs"})


class DirectoryLock:
    """The right to use a data directory, held until `release` or the end of the process."""

    def __init__(self, path: Path) -> None:
        """Takes the lock of the data directory `path`. Raises `StoreLocked` if another has it."""
        _refuse_network(path)
        self._handle = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip()
            os.close(self._handle)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreLocked(f"data directory {path} is in use by {who}") from error
        with contextlib.suppress(OSError):
            # Only told to others; a full disk must not keep anybody from making room on it.
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Lets go. Idempotent."""
        if self._handle >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> DirectoryLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _refuse_network(path: Path) -> None:
    kind = file_system_kind(path)
    if kind in _NETWORK_KINDS:
        raise StoreError(
            f"data directory {path} is on a network file system ({kind}), where neither locks "
            "nor memory maps can be relied on: use a local disk"
        )


def file_system_kind(path: Path) -> str | None:
    """The kind of file system that `path` is on ("ext4", "nfs4"), if the kernel tells."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return None
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        if left.split()[2] == wanted:
            return right.split()[0]
    return None
