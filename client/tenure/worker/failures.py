"""Jobs that ended an attempt with an error, on the worker's log: one line for each.

Whoever watches a worker must see that its jobs fail, and why, without asking the broker. A
storm of failures must not bury everything else: of each stretch of time the first lines are
written, and the rest is counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from tenure.settings import wall_ms
from tenure.worker.held import Held
from tenure.worker.log import Log
from tenure_protocol.durations import format_ms

LINES_MAX = 20
"""So many failures are told one by one in each stretch."""

STRETCH_MS = 10_000
"""After so long the others are told as a count, and lines are written again."""

ERROR_CHARS_MAX = 300

_WHY_DEAD = {
    "attempts": "its attempts are used up",
    "poison": "it has lost too many processes or leases",
    "asked": "trying again is of no use",
}


class Failures:
    """Writes a line for each failure that the broker has taken; `later` calls after a pause."""

    def __init__(self, log: Log, *, later: Callable[[int, Callable[[], None]], object]) -> None:
        self._log = log
        self._later = later
        self._lines = 0
        self._untold: Counter[tuple[str, str]] = Counter()
        self._timed = False

    def told(self, held: Held, op: str, item: list[Any], outcome: Any) -> None:
        """The broker's answer to what was said of a job; only to failures is there a line."""
        if op != "fail" or (outcome != 0 and outcome[0] != 0):
            return
        after: dict[str, Any] = {} if outcome == 0 else outcome[1]
        if after.get("state") == "cancelled":
            return  # somebody wanted that
        if not self._timed:
            self._timed = True
            self._later(STRETCH_MS, self._next_stretch)
        if self._lines >= LINES_MAX:
            self._untold[held.task, _type_of(item)] += 1
            return
        self._lines += 1
        self._write(held, item[2], after)

    def flush(self) -> None:
        """Tell of those that were only counted so far."""
        if self._untold:
            (task, error_type), _ = self._untold.most_common(1)[0]
            self._log.warning(
                "more jobs failed than are told one by one",
                jobs=self._untold.total(), most_of=task, error=error_type,
            )  # fmt: skip
        self._untold.clear()

    def _next_stretch(self) -> None:
        self.flush()
        self._lines = 0
        self._timed = False

    def _write(self, held: Held, told: dict[str, Any], after: dict[str, Any]) -> None:
        fields: dict[str, Any] = {
            "task": held.task or "?",
            "job": held.name,
            "queue": held.queue,
            "attempt": held.attempt,
            "error": one_line(told),
        }
        if after.get("state") == "dead":
            reason = after.get("reason")
            why = _WHY_DEAD.get(reason or "", reason)
            self._log.warning("a job failed and is dead", **fields, because=why)
            return
        ready_at_ms = after.get("ready_at_ms")
        again = None if ready_at_ms is None else format_ms(max(0, ready_at_ms - wall_ms()))
        self._log.info("a job failed and is tried again", **fields, again_in=again)


def one_line(told: dict[str, Any]) -> str:
    """Type and message of an error as one line of bounded length."""
    error_type, message = told.get("error_type") or "Error", told.get("message") or ""
    text = " ".join(f"{error_type}: {message}".split()).rstrip(":")
    return text if len(text) <= ERROR_CHARS_MAX else f"{text[: ERROR_CHARS_MAX - 1]}…"


def _type_of(item: list[Any]) -> str:
    return str(item[2].get("error_type") or "Error")
