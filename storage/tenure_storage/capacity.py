"""How much the store may hold, and how near it is to that.

A full disk is prevented, not handled: a failed commit ends the broker. So enqueues stop at
`max_bytes`, well before the map (`map_bytes_for`) or the disk is full, and what remains is for
ack, fail and delete, which need pages too: LMDB copies a page to change it.

    used_bytes ──► ok ── 80 % ──► warn ── max_bytes ──► full      back down at 75 % and 95 %
    free disk  ──► ok ── 2 floors ─► warn ── floor ──► full       back up at 2.5 and 1.5 floors

At `full` for want of disk the reserve file is deleted, which gives the way out its room.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final, Literal

from tenure_storage.store import StoreSizes

Level = Literal["ok", "warn", "full"]

MIB: Final = 1 << 20
GIB: Final = 1 << 30

DISK_SHARE_PERCENT: Final = 80
"""The share of the disk (free, or used by the store already) that is the default capacity."""

RESERVE_NAME: Final = "reserve"
"""The reserve file within a data directory."""

_MAP_BYTES_MAX: Final = 1 << 45
"""32 TiB: an eighth of what x86-64 and a quarter of what most ARM kernels give a process."""


def default_max_bytes(path: Path) -> int:
    """The capacity when none is configured: 80 % of free disk and what the store has of it.

    `path` is the data directory, which need not exist yet.
    """
    own = sum(_allocated_bytes(path / name) for name in ("data.mdb", "journal", RESERVE_NAME))
    share = (disk_free_bytes(path) + own) * DISK_SHARE_PERCENT // 100
    return max(share, 64 * MIB)


def map_bytes_for(max_bytes: int) -> int:
    """The address space for a store of this capacity: four times it, and at least 1 GiB.

    Never less than a quarter and 64 MiB above the capacity: that headroom is what settles jobs
    when the store is full. It is sparse: pages cost memory and disk only once written.
    """
    wanted = min(max(4 * max_bytes, GIB), _MAP_BYTES_MAX)
    least = max_bytes + max_bytes // 4 + 64 * MIB
    return -(-max(wanted, least) // MIB) * MIB


def reserve_bytes_for(max_bytes: int) -> int:
    """The size of the reserve file: 1 % of the capacity, between 64 and 256 MiB."""
    return min(max(max_bytes // 100, 64 * MIB), 256 * MIB)


def disk_free_bytes(path: Path) -> int:
    """What this user may still write on the disk of `path` or its nearest parent that exists."""
    while not path.exists() and path != path.parent:
        path = path.parent
    return shutil.disk_usage(path).free


def next_level(sizes: StoreSizes, *, disk_free: int, disk_floor_bytes: int, before: Level) -> Level:
    """How full the store is, given how full it was; pure, for use after every commit.

    A level that was reached is left only a little further down, so it does not flutter.
    """
    used, most = sizes.used_bytes, sizes.max_bytes
    full_at = most * 95 // 100 if before == "full" else most
    full_disk = disk_floor_bytes * 3 // 2 if before == "full" else disk_floor_bytes
    if used >= full_at or disk_free < full_disk:
        return "full"
    warn_at = most * (80 if before == "ok" else 75) // 100
    warn_disk = disk_floor_bytes * (4 if before == "ok" else 5) // 2
    if used >= warn_at or disk_free < warn_disk:
        return "warn"
    return "ok"


class CapacityGuard:
    """The level of a store over time, and its reserve file. For one thread."""

    def __init__(self, path: Path, *, reserve_bytes: int) -> None:
        """`path` is the data directory; `reserve_bytes` is the reserve, and the disk floor."""
        self.path = path
        self.reserve_bytes = reserve_bytes
        self.level: Level = "ok"
        self.holds_reserve = (path / RESERVE_NAME).exists()
        self._retry_above = 0

    def update(self, sizes: StoreSizes, *, disk_free: int) -> Level:
        """The level now. Cheap, unless the reserve is taken or released.

        A reserve that is not held is owed: its bytes do not count as free, so releasing it does
        not by itself end the alarm, and the room it gives is not enqueued away.
        """
        floor = self.reserve_bytes
        if self.holds_reserve and disk_free < floor:
            release_reserve(self.path)
            self.holds_reserve = False
            disk_free += floor
        spare = disk_free if self.holds_reserve else disk_free - floor
        self.level = next_level(sizes, disk_free=spare, disk_floor_bytes=floor, before=self.level)
        if not self.holds_reserve and spare >= 2 * floor and disk_free > self._retry_above:
            self.holds_reserve = hold_reserve(self.path, floor)
            # A quota may say no where the disk says yes: then ask again when that has changed.
            self._retry_above = 0 if self.holds_reserve else disk_free + floor
        return self.level


def hold_reserve(path: Path, reserve_bytes: int) -> bool:
    """Allocates the reserve file in the data directory `path`; False if the disk has no room."""
    target = path / RESERVE_NAME
    try:
        handle = os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        os.posix_fallocate(handle, 0, reserve_bytes)
        os.ftruncate(handle, reserve_bytes)
    except OSError:
        with contextlib.suppress(OSError):
            target.unlink()
        return False
    finally:
        os.close(handle)
    return True


def release_reserve(path: Path) -> int:
    """Deletes the reserve file; the bytes that gave back, none if it cannot be deleted."""
    target = path / RESERVE_NAME
    given_back = _allocated_bytes(target)
    try:
        target.unlink()
    except OSError:
        return 0
    return given_back


def _allocated_bytes(path: Path) -> int:
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0
