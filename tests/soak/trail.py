"""Trails: what each process meant to do and what came of it, read by the checker as it goes.

A trail is a row of files of bounded size. A line is written with one `write` to a file opened for
appending, so a SIGKILL can cut no line but the last. The reader deletes what it has read, so that a
run of days needs no more disk than one of minutes.

What a line causes elsewhere is written after it. So whoever reads all trails, and then takes only
the lines that are older than the moment at which it began to read, misses no cause of any of them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Line = dict[str, Any]

FILE_BYTES_MAX = 1 << 20
READ_BYTES_MAX = 8 << 20
_SUFFIX = ".trail"


class Trail:
    """A trail that one process writes, from any of its threads."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory, self._name = directory, name
        self._number, self._bytes, self._file = 0, FILE_BYTES_MAX, -1

    def write(self, event: str, **fields: object) -> None:
        """One line, with the time: `t` in seconds of the clock that all processes share."""
        line = json.dumps({"e": event, "t": time.monotonic(), **fields}).encode() + b"\n"
        if self._bytes >= FILE_BYTES_MAX:
            self._next_file()
        self._bytes += len(line)
        os.write(self._file, line)

    def _next_file(self) -> None:
        if self._file >= 0:
            os.close(self._file)
        path = self._directory / f"{self._name}.{self._number:06d}{_SUFFIX}"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._number, self._bytes = self._number + 1, 0


class TrailReader:
    """All trails of a directory, in the order of their times, once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read: dict[str, int] = {}
        self._rests: dict[str, bytes] = {}
        self._waiting: list[Line] = []

    def lines(self) -> list[Line]:
        """The lines that were written before this call and after the last one."""
        begun = time.monotonic()
        newest: dict[str, str] = {}
        names = sorted(path.name for path in self._directory.glob(f"*{_SUFFIX}"))
        for name in names:
            newest[_writer(name)] = name
        for name in names:
            self._read_file(name, done=newest[_writer(name)] != name)
        self._waiting.sort(key=_time)
        ready = [line for line in self._waiting if line["t"] < begun]
        self._waiting = self._waiting[len(ready) :]
        return ready

    def _read_file(self, name: str, *, done: bool) -> None:
        path = self._directory / name
        with path.open("rb") as file:
            file.seek(self._read.get(name, 0))
            data = file.read(READ_BYTES_MAX)
        self._read[name] = self._read.get(name, 0) + len(data)
        *whole, rest = (self._rests.pop(name, b"") + data).split(b"\n")
        for raw in whole:
            line: Line = json.loads(raw)
            line["who"] = _writer(name)
            self._waiting.append(line)
        if rest:
            self._rests[name] = rest
        if done and len(data) < READ_BYTES_MAX:
            # A line that was cut by a SIGKILL stays a rest, and goes with its file.
            path.unlink()
            self._read.pop(name, None)
            self._rests.pop(name, None)


def number_of(hold: Path) -> int:
    """The number of the hold that a file of that name asks for; 0 if it is over already."""
    try:
        return int(hold.read_text())
    except FileNotFoundError:
        return 0


def _writer(name: str) -> str:
    return name.rsplit(".", 2)[0]


def _time(line: Mapping[str, Any]) -> float:
    moment: float = line["t"]
    return moment
