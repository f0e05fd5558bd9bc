"""The journal's thread: it writes one record at a time and waits for the disk.

The hand-over is that of `tenure_storage.writer`, for the same reasons: plain locks as signals,
and the caller goes on once the thread is at work. To wake a thread and be woken by it costs more
than twice the sync itself, so short records are written on the caller's thread while the disk is
quick; a disk that is not gets the thread, and the caller's loop goes on meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tenure_storage.journal import Journal

OnDone = Callable[[BaseException | None], None]

QUICK_US_MAX = 1_000
"""A write that took longer was not quick."""
SLOW_FACTOR = 10
"""So many times as long as it took, the thread does the writing afterwards: the caller stands
still for a tenth of the time at most, however slow the disk becomes."""


class JournalWriter:
    """Writes records. All methods are for one other thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._task: tuple[int, bytes, OnDone] | None = None
        self._slow_until_us = 0
        self._order = threading.Lock()
        self._order.acquire()
        self._at_work = threading.Lock()
        self._at_work.acquire()
        self._thread = threading.Thread(target=self._run, name="tenure-journal", daemon=True)
        self._thread.start()

    def write(self, start: int, record: bytes, on_done: OnDone) -> None:
        """Begins to write a record; `on_done` is called on the thread when it is durable, or not.

        One at a time. After an error nothing may be written any more: whether a later sync
        means what it says is unknown then.
        """
        self._task = (start, record, on_done)
        self._order.release()
        self._at_work.acquire()

    @property
    def quick(self) -> bool:
        """Whether the disk, as far as is known, keeps nobody waiting for long."""
        return mono_us() >= self._slow_until_us

    def write_here(self, start: int, record: bytes) -> BaseException | None:
        """Writes a record on the calling thread; what went wrong, or None when it is durable."""
        began_us = mono_us()
        try:
            self._journal.write(start, record)
        except BaseException as raised:
            return raised
        ended_us = mono_us()
        took_us = ended_us - began_us
        if took_us > QUICK_US_MAX:
            self._slow_until_us = ended_us + SLOW_FACTOR * took_us
        return None

    def stop(self) -> None:
        """Waits for the record that is being written, and ends the thread. Idempotent."""
        if self._thread.is_alive():
            self._task = None
            self._order.release()
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._order.acquire()
            if self._task is None:
                return
            start, record, on_done = self._task
            self._at_work.release()
            error: BaseException | None = None
            try:
                self._journal.write(start, record)
            except BaseException as raised:
                error = raised
            on_done(error)


def mono_us() -> int:
    """The clock that says how quick the disk is."""
    return time.monotonic_ns() // 1000
