"""A disk that forgets on a power cut what was not synced: each sector is lost or kept by chance.

Two states of every file: what programs read (`seen`, the page cache) and what a power cut
leaves (`safe`). A process that is killed loses nothing that it wrote; a failed sync leaves its
pages clean but not safe, as Linux does.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from typing import Any

from tests.sim.ends import CrashError
from tests.sim.history import History
from tests.sim.lmdb import LmdbRows

SECTOR_BYTES = 512
GIB = 1 << 30


class File:
    """The bytes of one file, as they are seen and as they are safe."""

    def __init__(self) -> None:
        self.seen = bytearray()
        self.safe = bytearray()
        self.dirty: dict[int, None] = {}

    def write(self, data: bytes, at: int) -> None:
        """Seen at once; safe after a sync."""
        end = at + len(data)
        if len(self.seen) < end:
            self.seen.extend(bytes(end - len(self.seen)))
        self.seen[at:end] = data
        self.dirty.update(dict.fromkeys(range(at // SECTOR_BYTES, -(-end // SECTOR_BYTES))))

    def sync(self) -> None:
        """What is dirty becomes safe."""
        if len(self.safe) < len(self.seen):
            self.safe.extend(bytes(len(self.seen) - len(self.safe)))
        for sector in self.dirty:
            at = sector * SECTOR_BYTES
            self.safe[at : at + SECTOR_BYTES] = self.seen[at : at + SECTOR_BYTES]
        self.dirty.clear()

    def lose(self, rng: random.Random) -> int:
        """A power cut: each dirty sector by itself; how many were lost."""
        lost = 0
        style = rng.choice(["none", "all", "mixed", "prefix"])
        sectors = list(self.dirty)
        kept_before = rng.randrange(len(sectors) + 1)
        for index, sector in enumerate(sectors):
            kept = {
                "none": False,
                "all": True,
                "mixed": rng.random() < 0.5,
                "prefix": index < kept_before,
            }[style]
            at = sector * SECTOR_BYTES
            if kept:
                piece = self.seen[at : at + SECTOR_BYTES]
                if len(self.safe) < at + len(piece):
                    self.safe.extend(bytes(at + len(piece) - len(self.safe)))
                self.safe[at : at + len(piece)] = piece
            else:
                lost += 1
        self.seen = bytearray(self.safe)
        self.dirty.clear()
        return lost


class Disk:
    """The data directory of one broker, and the faults that its disk is to have."""

    def __init__(self, rng: random.Random, history: History) -> None:
        self._rng = rng
        self._history = history
        self.names: dict[str, File] = {}
        self.safe_names: dict[str, File] = {}
        self.rows = LmdbRows()
        self.free_bytes = 100 * GIB
        self.holds_reserve = False
        self.armed: str | None = None
        """The point at which the process is to end."""
        self.armed_skips = 0
        self.errors: dict[str, int] = {}
        """Points that are to fail, and how often."""
        self.met_error = False
        self.stops_at_sync = False
        self.on_crash: Callable[[str], None] = lambda _: None
        self.takes_direct = rng.random() < 0.5
        """Whether it has writes that go past the page cache."""
        self._handles: dict[int, File] = {}
        self._synced: set[int] = set()
        """Handles whose writes return when they are safe."""
        self._next_handle = 1_000

    # ---- points ----------------------------------------------------------------------------

    def point(self, name: str) -> None:
        """A step of the disk: raises `CrashError` if the process is to end here."""
        self._history.reach(f"point {name}")
        if self.armed is None or not name.startswith(self.armed):
            return
        if self.armed_skips > 0:
            self.armed_skips -= 1
            return
        self.armed = None
        self._history.note("disk", "crash_point", name)
        self._history.reach(f"crash at {name}")
        self.on_crash(name)
        raise CrashError(name)

    def error(self, name: str) -> OSError | None:
        """The error that this step is to meet, if any."""
        left = self.errors.get(name, 0)
        if not left:
            return None
        self.errors[name] = left - 1
        self.met_error = True
        number = self._rng.choice([errno.EIO, errno.ENOSPC])
        self._history.note("disk", "error", name, errno.errorcode[number])
        self._history.reach(f"error at {name}")
        return OSError(number, os.strerror(number))

    # ---- the end of a process, or of the power -----------------------------------------------

    def power_cut(self) -> None:
        """Only what is safe remains; names that were not synced may have been."""
        if self._rng.random() < 0.5:
            self.safe_names = dict(self.names)
        self.names = dict(self.safe_names)
        lost = sum(self.names[name].lose(self._rng) for name in sorted(self.names))
        self._history.note("disk", "power_cut", lost)
        if lost:
            self._history.reach("unsynced sectors lost", lost)
        self._handles.clear()

    def process_ended(self) -> None:
        """What was written stays seen; the system writes it out in its own time."""
        self._handles.clear()
        if self._rng.random() < 0.5:
            for name in sorted(self.names):
                self.names[name].sync()

    # ---- files -------------------------------------------------------------------------------

    def open(self, path: object, flags: int, mode: int = 0o600) -> int:
        """As `os.open`."""
        name = str(path)
        if flags & os.O_DIRECT and not self.takes_direct:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), name)
        if name not in self.names:
            if not flags & os.O_CREAT:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
            self.names[name] = File()
        elif flags & os.O_TRUNC:
            self.names[name] = File()
        self._next_handle += 1
        self._handles[self._next_handle] = self.names[name]
        if flags & os.O_DSYNC:
            self._synced.add(self._next_handle)
        return self._next_handle

    def pwrite(self, handle: int, data: Any, at: int) -> int:
        """As `os.pwrite`; now and then it takes a part only."""
        file = self._handles[handle]
        self.point("journal.before_write")
        data = bytes(data)
        if len(data) > SECTOR_BYTES and self._rng.random() < 0.1:
            # What a direct write takes is whole sectors.
            unit = SECTOR_BYTES if handle in self._synced else 1
            data = data[: self._rng.randrange(1, -(-len(data) // unit)) * unit]
            self._history.reach("short writes")
        file.write(data, at)
        self.point("journal.after_write")
        if handle in self._synced:
            self._history.reach("writes past the page cache")
            self.fdatasync(handle)
        return len(data)

    def pread(self, handle: int, count: int, at: int) -> bytes:
        """As `os.pread`."""
        return bytes(self._handles[handle].seen[at : at + count])

    def fdatasync(self, handle: int) -> None:
        """As `os.fdatasync`."""
        file = self._handles[handle]
        if self.stops_at_sync:
            raise CrashError("in the middle of a sync")
        self.point("journal.before_sync")
        error = self.error("journal.sync")
        if error is not None:
            if self._rng.random() < 0.5:
                # Some of it got there all the same; no later sync will try the rest again.
                kept = {s: None for s in file.dirty if self._rng.random() < 0.5}
                file.dirty = kept
                file.sync()
            file.dirty.clear()
            raise error
        file.sync()
        self._history.reach("syncs")
        self.point("journal.after_sync")

    fsync = fdatasync

    def posix_fallocate(self, handle: int, at: int, count: int) -> None:
        """As `os.posix_fallocate`."""
        file = self._handles[handle]
        if len(file.seen) < at + count:
            file.seen.extend(bytes(at + count - len(file.seen)))

    def close(self, handle: int) -> None:
        """As `os.close`."""
        self._handles.pop(handle, None)

    def sync_names(self) -> None:
        """The names are safe from here on."""
        self.safe_names = dict(self.names)


class Name:
    """As much of `pathlib.Path` as the journal uses, on a `Disk`."""

    def __init__(self, disk: Disk, text: str) -> None:
        self._disk = disk
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Name:
        return Name(self._disk, f"{self.text}/{name}")

    @property
    def parent(self) -> Name:
        """The directory it is in."""
        return Name(self._disk, self.text.rpartition("/")[0])

    def with_name(self, name: str) -> Name:
        """Its neighbour."""
        return self.parent / name

    def exists(self) -> bool:
        """Whether it is there."""
        return self.text in self._disk.names or (
            self.text.endswith("/reserve") and self._disk.holds_reserve
        )

    def stat(self) -> os.stat_result:
        """Its size."""
        size = len(self._disk.names[self.text].seen)
        return os.stat_result((0o600, 0, 0, 1, 0, 0, size, 0, 0, 0))

    def rename(self, other: Name) -> None:
        """Takes the other's name."""
        self._disk.point("journal.before_rename")
        self._disk.names[other.text] = self._disk.names.pop(self.text)
        self._disk.point("journal.after_rename")

    def unlink(self, missing_ok: bool = False) -> None:
        """Is gone."""
        self._disk.names.pop(self.text, None)
