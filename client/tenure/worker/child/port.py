"""A job's port over the pipe: progress and lines at a bounded rate, checkpoints with answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns

from tenure.core.failure import clean_text
from tenure.errors import TenureError
from tenure.running.alarms import Alarm, alarms
from tenure.running.control import unharmed
from tenure.running.port import SaveDone
from tenure.worker.child.notes import Notes
from tenure.worker.child.wire import Wire
from tenure.worker.pipe import CHECKPOINT, LOG, PROGRESS
from tenure_protocol.limits import CHECKPOINT_BYTES_MAX

_lock = threading.Lock()
"""For what the ports of all jobs hold back: it is used a few times a second."""


def _now_ms() -> int:
    return monotonic_ns() // 1_000_000


class ChildPort:
    """The port of one job. `expect` is called before an answer is waited for."""

    __slots__ = ("_alarm", "_closed", "_expect", "_key", "_notes", "_number", "_saves", "_wire")

    def __init__(self, wire: Wire, key: int, expect: Callable[[], None] | None) -> None:
        self._wire = wire
        self._key = key
        self._expect = expect
        self._closed = False
        self._notes: Notes | None = None
        self._alarm: Alarm | None = None
        self._number = 0
        self._saves: dict[int, SaveDone] = {}

    def progress(self, n: float, total: float | None, message: str | None) -> None:
        """Tell how far the job is; at once, or when the last message is old enough."""
        told = None if message is None else clean_text(message)
        unharmed(lambda: self._tell(lambda notes: notes.progress((n, total, told))))

    def log(self, line: str) -> None:
        """Tell a line; at once, or when the last message is old enough."""
        told = clean_text(line)
        unharmed(lambda: self._tell(lambda notes: notes.line(told)))

    def _tell(self, note: Callable[[Notes], None]) -> None:
        with _lock:
            note(self._opened())
            self._send_or_wait()
        self._wire.flush()

    def save(self, data: bytes, done: SaveDone) -> None:
        """Hand the checkpoints to the parent; `done` is called when it has an answer."""
        if len(data) > CHECKPOINT_BYTES_MAX:
            # It could make the request too long that others' checkpoints leave with.
            much = f"it has {len(data)} bytes, the limit is {CHECKPOINT_BYTES_MAX}"
            done(TenureError(much))
            return
        unharmed(lambda: self._save(data, done))

    def _save(self, data: bytes, done: SaveDone) -> None:
        with _lock:
            closed = self._closed
            if not closed:
                self._number += 1
                self._saves[self._number] = done
                self._wire.put([CHECKPOINT, self._key, self._number, data])
        if closed:
            done(TenureError("the job has ended"))
            return
        if self._expect is not None:
            self._expect()
        self._wire.flush()

    def saved(self, number: int, refusal: str | None) -> None:
        """The parent's answer to a `save`."""
        with _lock:
            done = self._saves.pop(number, None)
        if done is not None:
            done(None if refusal is None else TenureError(refusal))

    def close(self) -> None:
        """The job has ended: what is held leaves with the next flush, what comes later does not."""
        if self._notes is None and not self._saves:
            self._closed = True
            return
        with _lock:
            self._closed = True
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            self._put()
            saves, self._saves = self._saves, {}
        for done in saves.values():
            done(TenureError("the job has ended"))

    def _opened(self) -> Notes:
        if self._notes is None:
            self._notes = Notes()
        return self._notes

    def _send_or_wait(self) -> None:
        if self._closed or self._alarm is not None or self._notes is None:
            return
        due_in_ms = self._notes.due_in_ms(_now_ms())
        if due_in_ms == 0:
            self._put()
        elif due_in_ms is not None:
            self._alarm = alarms.after(due_in_ms / 1000, self._due)

    def _due(self) -> None:
        with _lock:
            self._alarm = None
            if not self._closed:
                self._put()
        self._wire.flush()

    def _put(self) -> None:
        if self._notes is None:
            return
        progress, lines = self._notes.take(_now_ms())
        if progress is not None:
            self._wire.put([PROGRESS, self._key, *progress])
        if lines:
            self._wire.put([LOG, self._key, lines])
