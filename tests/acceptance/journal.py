"""Journals: what a process meant to do and what came of it, one JSON line each, only appended.

A line is written with one `write` to a file opened for appending, so a SIGKILL of the
process can cut no line but the last. Times are seconds of the machine's monotonic clock,
which all processes share.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Journal:
    """A journal that one process writes."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, event: str, **fields: object) -> None:
        """One line, with the time."""
        line = json.dumps({"event": event, "t": time.monotonic(), **fields})
        os.write(self._file, line.encode() + b"\n")


def read_journals(directory: Path) -> list[dict[str, Any]]:
    """The lines of all journals in the order of their times; the name of its file is in each."""
    lines: list[dict[str, Any]] = []
    for path in sorted(directory.glob("*.journal")):
        for raw in path.read_bytes().split(b"\n"):
            try:
                line = json.loads(raw)
            except ValueError:
                continue  # The last line of a process that was killed while it wrote.
            lines.append({**line, "who": path.stem})
    lines.sort(key=lambda line: line["t"])
    return lines
