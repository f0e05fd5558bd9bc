"""Which source files changed: their times are looked at, for there is no portable event."""

from __future__ import annotations

import os
from collections.abc import Iterable

LOOK_S = 0.5
"""How often to look."""


class Watch:
    """The files that children have imported, with the times at which they were last written."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def add(self, paths: Iterable[str]) -> None:
        """Watch these too."""
        for path in paths:
            if path not in self._times:
                self._times[path] = _time_of(path)

    def changed(self) -> list[str]:
        """Those that were written, removed or made since the last look."""
        found: list[str] = []
        for path, known in self._times.items():
            now = _time_of(path)
            if now != known:
                self._times[path] = now
                found.append(path)
        return found


def _time_of(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
