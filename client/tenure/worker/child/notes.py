"""How often a job's progress and lines leave the process: pure, time is passed in."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

EVERY_MS = 1_000
"""The least time between two messages of one job."""

LINES_MAX = 20
"""How many of the newest lines are held; the broker keeps no more."""

Progress = tuple[float, float | None, str | None]
"""n, total, message."""


class Parcel(NamedTuple):
    """What is to leave now."""

    progress: Progress | None
    lines: list[str]


class Notes:
    """What one job has told and what has left. The newest progress counts, lines add up."""

    __slots__ = ("_lines", "_progress", "_sent_at_ms")

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self._sent_at_ms: int | None = None

    def progress(self, progress: Progress) -> None:
        """The job is so far."""
        self._progress = progress

    def line(self, line: str) -> None:
        """The job has told a line."""
        self._lines.append(line)

    def due_in_ms(self, now_ms: int) -> int | None:
        """When what is held may leave, 0 if now; None if nothing is held."""
        if self._progress is None and not self._lines:
            return None
        if self._sent_at_ms is None:
            return 0
        return max(self._sent_at_ms + EVERY_MS - now_ms, 0)

    def take(self, now_ms: int) -> Parcel:
        """All that is held; it counts as sent."""
        parcel = Parcel(self._progress, list(self._lines))
        self._progress = None
        self._lines.clear()
        self._sent_at_ms = now_ms
        return parcel
