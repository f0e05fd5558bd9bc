"""What a test wants to go wrong, and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


class WorkerKilled(BaseException):
    """Ends the code of a job whose worker dies. Its worker tells the broker nothing."""


@dataclass(slots=True)
class Faults:
    """Faults that are to come. Each strikes once.

    - `jobs_left`: the worker dies with the job that makes it 0.
    - `checkpoints_left`: in that job it dies after so many checkpoints; None: at its end.
    - `failures`: what becomes of the next jobs of a task, by its name, instead of being run.
    """

    jobs_left: int | None = None
    checkpoints_left: int | None = None
    failures: dict[str, list[dict[str, Any]]] = field(
        default_factory=dict[str, list[dict[str, Any]]]
    )

    def dooms(self) -> bool:
        """A job begins: whether its worker shall die in it."""
        if self.jobs_left is None:
            return False
        self.jobs_left -= 1
        if self.jobs_left > 0:
            return False
        self.jobs_left = None
        return True

    def failure(self, task: str) -> dict[str, Any] | None:
        """A job of this task begins: how it fails without being run, if it shall."""
        waiting = self.failures.get(task)
        return waiting.pop(0) if waiting else None

    def add_failure(self, task: str, told: dict[str, Any]) -> None:
        """The next job of this task fails so; `told` is what its worker tells the broker."""
        self.failures.setdefault(task, []).append(told)


def crash() -> dict[str, Any]:
    """What a worker tells of a job whose process was killed."""
    return {
        "error_type": "WorkerCrashed",
        "message": "killed by signal 9 (SIGKILL)",
        "kind": "crashed",
    }
