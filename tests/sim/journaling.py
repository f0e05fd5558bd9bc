"""The real journaled store on the simulated disk: what its threads would do, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from tenure_storage.journal_writer import JournalWriter
from tests.sim.disk import Disk
from tests.sim.ends import CrashError
from tests.sim.lmdb import OnDone, SimLmdb
from tests.sim.loop import SimLoop


class SimJournalWriter:
    """`JournalWriter` without a thread: the real `Journal.write`, a little later."""

    def __init__(
        self, journal: Any, disk: Disk, loop: SimLoop, delay_us: Callable[[], int]
    ) -> None:
        self._journal = journal
        self._disk = disk
        self._loop = loop
        self._delay_us = delay_us
        self._task: tuple[int, bytes, OnDone] | None = None
        self._told: tuple[OnDone, BaseException | None] | None = None
        self._inline: Any = SimpleNamespace(
            _journal=SimpleNamespace(write=self._write_standing), _slow_until_us=0
        )
        """As much of a `JournalWriter` as its `write_here` looks at."""
        self.wrote_here = False
        """Whether the record written last was written on the loop's thread."""
        self.dead = False

    @property
    def quick(self) -> bool:
        """See `JournalWriter.quick`."""
        writer: Any = JournalWriter
        return bool(writer.quick.fget(self._inline))

    def write_here(self, start: int, record: bytes) -> BaseException | None:
        """See `JournalWriter.write_here`, whose own code this runs; the loop stands still."""
        assert self._task is None, "one record at a time"
        assert self._told is None, "one record at a time"
        writer: Any = JournalWriter
        error: BaseException | None = writer.write_here(self._inline, start, record)
        if isinstance(error, CrashError):
            raise error
        self.wrote_here = True
        self._disk.point("journal.before_told")
        return error

    def _write_standing(self, start: int, record: bytes) -> None:
        self._loop.stand_still(self._delay_us())
        self._journal.write(start, record)

    def write(self, start: int, record: bytes, on_done: OnDone) -> None:
        """See `JournalWriter.write`."""
        assert self._task is None, "one record at a time"
        assert self._told is None, "one record at a time"
        self._task = (start, record, on_done)
        self.wrote_here = False
        self._loop.call_later(self._delay_us() / 1e6, self._later, self._write, self._task)

    def _later(self, step: Callable[[object], None], what: object) -> None:
        if self.dead:
            return
        try:
            step(what)
        except CrashError:
            self.dead = True

    def _write(self, task: object) -> None:
        if self._task is not task or self._task is None:
            return
        (start, record, on_done), self._task = self._task, None
        error: BaseException | None = None
        try:
            self._journal.write(start, record)
        except OSError as raised:
            error = raised
        self._told = (on_done, error)
        self._loop.call_later(self._delay_us() / 4e6, self._later, self._tell, self._told)

    def _tell(self, told: object) -> None:
        if self._told is not told or self._told is None:
            return
        (on_done, error), self._told = self._told, None
        self._disk.point("journal.before_told")
        on_done(error)
        self._disk.point("journal.after_told")

    def write_unsynced(self) -> None:
        """The end finds a record that is written and waits for its sync."""
        if self._task is None or self.dead:
            return
        (start, record, _), self._task = self._task, None
        self._disk.armed, self._disk.stops_at_sync = None, True
        try:
            self._journal.write(start, record)
        except (CrashError, OSError):
            self.dead = True
        finally:
            self._disk.stops_at_sync = False

    def stop(self) -> None:
        """See `JournalWriter.stop`: what is being written is written first."""
        if self._task is not None:
            self._write(self._task)
        if self._told is not None:
            self._tell(self._told)


class SimEvent:
    """The event that LMDB's commit is over: whoever waits for it lets the commit end."""

    def __init__(self, lmdb: SimLmdb) -> None:
        self._lmdb = lmdb
        self._set = False

    def is_set(self) -> bool:
        """Whether it is."""
        return self._set

    def set(self) -> None:
        """It is."""
        self._set = True

    def clear(self) -> None:
        """It is not."""
        self._set = False

    def wait(self) -> bool:
        """Blocks the loop, until LMDB is done."""
        self._lmdb.finish()
        return self._set
