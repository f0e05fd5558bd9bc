"""What a disk holds, and what it may hold after a power cut: the model that a recording is played to.

    durable       what was there before, and what a sync covered that began after the write ended
    pending       everything else: any part of it may be on the disk, in any order, sectors torn

Rules, those of POSIX: a sync of a file covers its content and its size; a name is durable once
its directory was synced; a write through a descriptor opened with O_DSYNC (or with RWF_DSYNC)
is durable alone when it returns. After a sync that failed, what it should have covered is
never made durable by a later one: Linux may have marked those pages clean.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tests.power.trace import BEGIN, CREATE, DSYNC, SHARED_WRITE, TRUNCATE, Event, Op

SECTOR_BYTES = 512
ROOM_BYTES = 32 << 20
"""Files set to a larger size are room that is kept, such as the reserve: there is nothing in them."""
_MAPPED = ("lock.mdb",)
"""Files that may be written through a map: LMDB's lock file means nothing after a power cut."""


class CannotFollow(Exception):
    """The recording has a call whose effect the model does not know."""


@dataclass(slots=True, eq=False)
class Change:
    """One change of a file: bytes written, or (`data` None) its size set or raised to `size`."""

    at: int
    data: bytes | None
    size: int
    raises: bool = False
    ended: bool = False
    durable: bool = False
    forgotten: bool = False
    """A sync that should have covered it failed."""

    def apply(self, content: bytearray, sectors: Callable[[int], bool] | None = None) -> None:
        """Changes the content; of a torn write only the sectors that `sectors` chooses."""
        if self.data is None:
            if self.size > ROOM_BYTES:
                return
            if not self.raises and len(content) > self.size:
                del content[self.size :]
            elif len(content) < self.size:
                content.extend(bytes(self.size - len(content)))
            return
        end = self.at + len(self.data)
        if len(content) < end:
            content.extend(bytes(end - len(content)))
        if sectors is None:
            content[self.at : end] = self.data
            return
        first = self.at // SECTOR_BYTES
        for sector in range(first, -(-end // SECTOR_BYTES)):
            if sectors(sector - first):
                low = max(self.at, sector * SECTOR_BYTES)
                high = min(end, (sector + 1) * SECTOR_BYTES)
                content[low:high] = self.data[low - self.at : high - self.at]


@dataclass(slots=True, eq=False)
class Inode:
    """A file, or (`content` None) a directory."""

    content: bytearray | None
    changes: list[Change] = field(default_factory=list)

    def fold(self) -> None:
        """Takes in the oldest changes that are durable."""
        assert self.content is not None
        while self.changes and self.changes[0].durable:
            self.changes.pop(0).apply(self.content)


@dataclass(slots=True, eq=False)
class NameChange:
    """Names set (or, None, removed) in directories, all at once."""

    entries: list[tuple[int, str, int | None]]
    durable: bool = False


Tree = dict[int, dict[str, int]]
"""Directory -> names -> inodes."""


class Disk:
    """One directory and all below it, over a recording."""

    def __init__(self, root: Path) -> None:
        """Begins with what is in `root` now, all of it durable."""
        self._root = root
        self.inodes: list[Inode] = [Inode(None)]
        self.base: Tree = {0: {}}
        """The names that are durable."""
        self.names: list[NameChange] = []
        """Changes of names that are not folded into `base` yet, oldest first."""
        self.version = 0
        """Rises with every event that changes what a power cut could leave."""
        self._fds: dict[tuple[int, int], int] = {}
        self._running: dict[tuple[int, int], tuple[Event, list[Change], list[NameChange]]] = {}
        self._take_in(root, 0)
        self._now: Tree = {number: dict(names) for number, names in self.base.items()}

    def _take_in(self, path: Path, number: int) -> None:
        for entry in sorted(path.iterdir()):
            if entry.is_dir():
                child = self._new(None)
                self.base[child] = {}
                self._take_in(entry, child)
            else:
                size = entry.stat().st_size
                child = self._new(bytearray(entry.read_bytes() if size <= ROOM_BYTES else b""))
            self.base[number][entry.name] = child

    def _new(self, content: bytearray | None) -> int:
        self.inodes.append(Inode(content))
        return len(self.inodes) - 1

    # ---- the recording ---------------------------------------------------------------------

    def feed(self, event: Event) -> None:
        """Plays one event."""
        if event.op in (Op.MARK, Op.FAILED):
            return
        if event.op == Op.UNKNOWN:
            raise CannotFollow(f"{event.path or event.fd}: {event}")
        if event.op == Op.MMAP:
            if event.flags & SHARED_WRITE and PurePosixPath(event.path).name not in _MAPPED:
                raise CannotFollow(f"{event.path} is written through a map")
            return
        if event.op == Op.CLOSE:
            self._fds.pop((event.pid, event.fd), None)
            return
        key = (event.pid, event.token)
        if event.phase == BEGIN:
            self._running[key] = (event, *self._begin(event))
        else:
            self._end(event, *self._running.pop(key))

    def _begin(self, event: Event) -> tuple[list[Change], list[NameChange]]:
        if event.op in (Op.WRITE, Op.TRUNCATE, Op.ALLOCATE):
            change = _change_of(event)
            self._file(event).changes.append(change)
            self.version += 1
            return [change], []
        if event.op == Op.SYNC:
            number = self._fds[event.pid, event.fd]
            inode = self.inodes[number]
            if inode.content is not None:
                return [change for change in inode.changes if change.ended], []
            return [], [change for change in self.names if _touches(change, number)]
        return [], []

    def _end(
        self, event: Event, begun: Event, changes: list[Change], names: list[NameChange]
    ) -> None:
        self.version += 1
        if event.op == Op.WRITE:
            self._end_write(event, begun, changes[0])
        elif event.op in (Op.TRUNCATE, Op.ALLOCATE):
            if event.result < 0:
                self._file(begun).changes.remove(changes[0])
            changes[0].ended = True
        elif event.op == Op.SYNC:
            self._end_sync(event, begun, changes, names)
        elif event.result >= 0:
            self._end_name(event, begun)

    def _end_write(self, event: Event, begun: Event, change: Change) -> None:
        inode = self._file(begun)
        assert change.data is not None
        change.ended = True
        if event.result < 0:
            # Any part of it may have been written all the same.
            change.forgotten = True
            return
        change.data = change.data[: event.result]
        if begun.flags & DSYNC:
            change.durable = True
            inode.fold()

    def _end_sync(
        self, event: Event, begun: Event, changes: list[Change], names: list[NameChange]
    ) -> None:
        for change in changes:
            if event.result < 0:
                change.forgotten = True
            elif not change.forgotten:
                change.durable = True
        if event.result < 0:
            return
        if changes:
            self.inodes[self._fds[begun.pid, begun.fd]].fold()
        for name in names:
            name.durable = True
        while self.names and self.names[0].durable:
            _apply_names(self.base, self.names.pop(0))

    def _end_name(self, event: Event, begun: Event) -> None:
        if event.op == Op.OPEN:
            self._opened(event, begun)
            return
        parent, name = self._parent(begun.path)
        number = self._now[parent][name] if event.op != Op.MKDIR else -1
        if event.op == Op.RENAME:
            target, new = self._parent(begun.other)
            self._rename([(parent, name, None), (target, new, number)])
        elif event.op == Op.MKDIR:
            number = self._new(None)
            self.base.setdefault(number, {})
            self._now[number] = {}
            self._rename([(parent, name, number)])
        else:
            self._rename([(parent, name, None)])

    def _opened(self, event: Event, begun: Event) -> None:
        number = self._lookup(begun.path)
        if number is None:
            if not begun.flags & CREATE:
                raise CannotFollow(f"{begun.path} was opened and should not be there")
            parent, name = self._parent(begun.path)
            number = self._new(bytearray())
            self._rename([(parent, name, number)])
        elif begun.flags & TRUNCATE:
            self.inodes[number].changes.append(Change(0, None, 0, ended=True))
        self._fds[event.pid, event.fd] = number

    def _rename(self, entries: list[tuple[int, str, int | None]]) -> None:
        change = NameChange(entries)
        self.names.append(change)
        _apply_names(self._now, change)

    def _file(self, event: Event) -> Inode:
        return self.inodes[self._fds[event.pid, event.fd]]

    def _parent(self, path: str) -> tuple[int, str]:
        whole = PurePosixPath(path)
        number = self._lookup(str(whole.parent))
        assert number is not None, f"the directory of {path} is unknown"
        return number, whole.name

    def _lookup(self, path: str) -> int | None:
        number = 0
        for part in PurePosixPath(path).relative_to(self._root).parts:
            following = self._now[number].get(part)
            if following is None:
                return None
            number = following
        return number

    # ---- what is pending -------------------------------------------------------------------

    def pending(self) -> list[tuple[int, Change]]:
        """Every change of a file that is not durable, with its inode, oldest first in each."""
        return [
            (number, change)
            for number, inode in enumerate(self.inodes)
            for change in inode.changes
            if not change.durable
        ]

    def pending_names(self) -> list[NameChange]:
        """Every change of names that is not durable, oldest first."""
        return [change for change in self.names if not change.durable]

    def tree_with(self, chosen: Callable[[NameChange], bool]) -> Tree:
        """The names on a disk that has these of the pending changes."""
        tree = {number: dict(names) for number, names in self.base.items()}
        for change in self.names:
            if change.durable or chosen(change):
                _apply_names(tree, change)
        return tree


def _change_of(event: Event) -> Change:
    if event.op == Op.WRITE:
        return Change(event.offset, event.data, 0)
    if event.op == Op.TRUNCATE:
        return Change(0, None, event.length)
    return Change(0, None, event.offset + event.length, raises=True)


def _touches(change: NameChange, directory: int) -> bool:
    return any(entry[0] == directory for entry in change.entries)


def _apply_names(tree: Tree, change: NameChange) -> None:
    for directory, name, number in change.entries:
        names = tree.setdefault(directory, {})
        if number is None:
            names.pop(name, None)
        else:
            names[name] = number
