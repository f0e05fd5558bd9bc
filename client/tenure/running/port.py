"""How a running job talks to whoever holds its lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

SaveDone = Callable[[BaseException | None], None]
"""Called once, in any thread: with None when the data is durable, else with the refusal."""


class Port(Protocol):
    """One job's line to its holder. Every method may be called in any thread; none blocks."""

    def progress(self, n: float, total: float | None, message: str | None) -> None:
        """Tell how far the job is."""

    def log(self, line: str) -> None:
        """Tell a line for people."""

    def save(self, data: bytes, done: SaveDone) -> None:
        """Keep the job's checkpoints durably, instead of those that were kept before."""


class NoPort:
    """A port that goes nowhere: for tasks that run where they are enqueued."""

    __slots__ = ()

    def progress(self, n: float, total: float | None, message: str | None) -> None:
        """Forget it."""

    def log(self, line: str) -> None:
        """Forget it."""

    def save(self, data: bytes, done: SaveDone) -> None:
        """Say that it is kept: there will be no other attempt to miss it."""
        done(None)
