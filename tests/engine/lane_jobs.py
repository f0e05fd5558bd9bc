"""What a lane history knows of its jobs, and how it judges replies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

QUEUES = ("a", "b")


@dataclass(slots=True)
class Job:
    """What the model knows of an unfinished or dead job."""

    queue: str
    priority: int
    ready_at_ms: int
    order: int
    line: int
    batch: int
    id: bytes = b""
    attempt: int = 0
    used: int = 0
    leased_until_ms: int | None = None
    moved: bool = False
    retrying: bool = False
    cancel_asked: bool = False
    dead: bool = False

    @property
    def place(self) -> tuple[int, int, int]:
        """Its place in line."""
        return self.priority, self.ready_at_ms, self.order

    @property
    def waits(self) -> bool:
        """Whether it is in line."""
        return not self.dead and self.leased_until_ms is None


@dataclass(slots=True)
class Model:
    """Everything that a crash may take back to an earlier moment."""

    jobs: list[Job] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=lambda: dict.fromkeys(QUEUES, 0))
    clock_ms: int = 0


def done(result: Any) -> None:
    """Each outcome is plain success."""
    assert list(result) == [0], result


def changed_nothing(result: Any) -> None:
    """The one outcome is a refusal, or says that this was done before."""
    assert result[0] == [0, {"repeated": True}] or result[0][:2] == [1, "LEASE_LOST"], result


def told(state: str) -> Callable[[Any], None]:
    """The one outcome tells the job's state."""

    def compare(result: Any) -> None:
        assert result[0][0] == 0, result
        assert result[0][1]["state"] == state, result

    return compare


def collapsed(counts: dict[str, int]) -> dict[str, int]:
    """Counts without the difference that the clock makes."""
    waiting = counts["ready"] + counts["scheduled"] + counts["retrying"]
    return {"waiting": waiting, "leased": counts["leased"], "dead": counts["dead"]}
