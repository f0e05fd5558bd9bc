"""A job in the hands of the test's worker, and what its code can tell meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tenure.core.work import settle_raw
from tenure.running.control import JobControl
from tenure.running.delivery import Delivery
from tenure.running.outcome import Failed, Outcome
from tenure.running.port import SaveDone
from tenure.testing.faults import Faults, WorkerKilled
from tenure.testing.links import LoopbackLink
from tenure.testing.virtual_time import Timer
from tenure_protocol.errors import error_from_wire

if TYPE_CHECKING:
    from tenure.tasks.app import App
    from tenure.tasks.task import Task


@dataclass(slots=True, eq=False)
class Held:
    """A leased job. `doomed`: its worker dies in it; `killed`: it has."""

    row: list[Any]
    delivery: Delivery
    app: App
    name: str
    task: Task[..., Any] | None
    doomed: bool
    control: JobControl = field(default_factory=JobControl)
    beat: Timer | None = None
    killed: bool = False
    outcome: Outcome | None = None
    """How it ended, as the broker was told."""
    answer: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the broker said to that."""

    @property
    def key(self) -> list[Any]:
        """Id and attempt, as they travel."""
        return self.row[:2]

    @property
    def lease_ms(self) -> int:
        """How long its lease is."""
        lease_ms: int = self.row[3]
        return lease_ms

    def answered(self, answer: Any) -> None:
        """Keep the broker's answer to the job's end."""
        if answer != 0 and answer[0] == 0:
            self.answer = answer[1]

    def facts(self) -> dict[str, Any]:
        """What hooks are told, as those of a worker are (`tenure.worker.events`)."""
        told = {
            "id": self.delivery.id,
            "task": self.name,
            "queue": self.delivery.queue,
            "attempt": self.delivery.attempt,
        }
        if isinstance(self.outcome, Failed):
            wire = self.outcome.wire
            told["error_type"] = wire.get("error_type")
            told["message"] = wire.get("message")
            told["failure"] = wire.get("kind") or "failed"
        return {**told, **self.answer}


class HeldPort:
    """The `Port` of a held job: everything is told to the broker at once."""

    def __init__(self, link: LoopbackLink, held: Held, faults: Faults) -> None:
        self._link = link
        self._held = held
        self._faults = faults

    def progress(self, n: float, total: float | None, message: str | None) -> None:
        """See `Port`."""
        self._note({"progress": [n, total, message]})

    def log(self, line: str) -> None:
        """See `Port`."""
        self._note({"log": [line]})

    def save(self, data: bytes, done: SaveDone) -> None:
        """See `Port`. After the checkpoint at which the worker shall die, it dies."""
        refusal = self._note({"checkpoint": data})
        if self._held.doomed and refusal is None:
            self._count_down()
        done(refusal)

    def _count_down(self) -> None:
        faults = self._faults
        if faults.checkpoints_left is not None:
            faults.checkpoints_left -= 1
            if faults.checkpoints_left <= 0:
                faults.checkpoints_left = None
                self._held.killed = True
                raise WorkerKilled("the test killed the worker after this checkpoint")

    def _note(self, told: dict[str, Any]) -> Exception | None:
        try:
            outcome = self._link.call(settle_raw("note", [[*self._held.key, told]]))[0]
        except Exception as error:
            return error
        if outcome == 0 or outcome[0] == 0:
            return None
        return error_from_wire(outcome[1:])
