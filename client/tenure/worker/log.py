"""What the worker writes to stderr: its own lines, and what its children write.

A thread of its own writes: whoever reads our stderr may be slow or stand still, and leases
have to be extended all the same. What does not fit into the backlog is dropped and counted.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

BACKLOG_BYTES_MAX = 4 * 1024 * 1024
_FLUSH_S_MAX = 2.0

_COLOURS = {"info": "\x1b[32m", "warning": "\x1b[33m", "error": "\x1b[31m"}
_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


class Output:
    """Bytes to a file descriptor, without ever making the caller wait."""

    def __init__(self, fd: int, backlog_bytes_max: int = BACKLOG_BYTES_MAX) -> None:
        self._fd = fd
        self._bytes_max = backlog_bytes_max
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._dropped = 0
        self._busy = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def write(self, data: bytes) -> None:
        """Write `data` soon, after what came before."""
        with self._changed:
            if self._bytes + len(data) > self._bytes_max:
                self._dropped += len(data)
                return
            self._waiting.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="tenure-stderr", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = _FLUSH_S_MAX) -> None:
        """Wait until everything is written, for a bounded time."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                while not self._waiting:
                    self._changed.wait()
                data = b"".join(self._waiting)
                self._waiting.clear()
                self._bytes = 0
                self._busy = True
                if self._dropped:
                    data += f"({self._dropped} bytes were dropped here)\n".encode()
                    self._dropped = 0
            self._write(data)

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._fd, view) :]
            except BlockingIOError:
                threading.Event().wait(0.05)
            except OSError:
                return  # nobody reads any more


class Log:
    """The worker's own lines: an event and its fields, for people or as JSON."""

    def __init__(
        self, output: Output, style: str, *, colour: bool, clock: Callable[[], int]
    ) -> None:
        self._output = output
        self._json = style == "json"
        self._colour = colour
        self._clock = clock

    def info(self, event: str, **fields: Any) -> None:
        """Something that is as it should be."""
        self._line("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Something to look at some day."""
        self._line("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something to look at now."""
        self._line("error", event, fields)

    def text(self, text: str) -> None:
        """Text of several lines, as it is."""
        self._output.write(text.encode("utf-8", "backslashreplace"))

    def flush(self) -> None:
        """Wait until everything is written, for a bounded time."""
        self._output.flush()

    def _line(self, level: str, event: str, fields: dict[str, Any]) -> None:
        now = datetime.fromtimestamp(self._clock() / 1000, UTC)
        known = {name: value for name, value in fields.items() if value is not None}
        if self._json:
            line = json.dumps(
                {"timestamp": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z",
                 "level": level, "event": event, **known},
                default=str,
            )  # fmt: skip
        else:
            line = self._for_people(f"{now:%H:%M:%S}", level, event, known)
        self._output.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def _for_people(self, clock: str, level: str, event: str, fields: dict[str, Any]) -> str:
        dim, mark, plain = (_DIM, _COLOURS[level], _PLAIN) if self._colour else ("", "", "")
        told = "  ".join(f"{dim}{name}={plain}{_shown(value)}" for name, value in fields.items())
        return f"{dim}{clock}{plain} {mark}{level:<7}{plain} {event}  {told}".rstrip()


def _shown(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or " " in text or "\n" in text else text


def new_log(style: str, clock: Callable[[], int]) -> tuple[Output, Log]:
    """The log on stderr; `style` is auto, console or json."""
    terminal = sys.stderr.isatty()
    chosen = ("console" if terminal else "json") if style == "auto" else style
    output = Output(sys.stderr.fileno())
    colour = terminal and "NO_COLOR" not in os.environ
    return output, Log(output, chosen, colour=colour, clock=clock)
