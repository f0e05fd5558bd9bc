"""What was meant to be done and what came of it: lines in memory, only appended.

The lines are those of the acceptance tests' journals, so that their checker reads them too:
`event`, `who`, `t` in seconds of the machine's monotonic clock, and what the event needs.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from tenure.errors import BrokerError

R = TypeVar("R")
Line = dict[str, Any]


class Record:
    """Written by any number of threads."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def write(self, who: str, event: str, **fields: Any) -> None:
        """One line, with the time."""
        self.lines.append({"event": event, "who": who, "t": time.monotonic(), **fields})

    def timed(
        self, who: str, method: str, limit_s: float, function: Callable[[], R], *, strict: bool
    ) -> R:
        """Do it, and note how long it took, how long it may take, and how it ended.

        `strict`: whether the client reconnects, and so must not tell of broken connections.
        """
        began, error = time.monotonic(), ""
        try:
            return function()
        except BaseException as trouble:
            error = type(trouble).__name__
            if type(trouble) is BrokerError:
                error = trouble.code
            raise
        finally:
            took = time.monotonic() - began
            self.write(
                who, "call", method=method, took=took, limit=limit_s, error=error, strict=strict
            )
