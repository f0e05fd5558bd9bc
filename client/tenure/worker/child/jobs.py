"""The jobs of a child: what came, what runs, and the messages when one has ended."""

from __future__ import annotations

from time import monotonic
from typing import Any

from tenure.running.control import JobControl
from tenure.running.failure import failed
from tenure.running.outcome import Failed, Outcome, Released, Succeeded
from tenure.running.plan import Prepared
from tenure.worker.child.port import ChildPort
from tenure.worker.child.watch import Watch
from tenure.worker.child.wire import Wire
from tenure.worker.pipe import DONE, FAILED, RELEASED, SUCCEEDED
from tenure_protocol.ids import encode_id


class Job:
    """One job in this process; `row` is its delivery, as it came."""

    __slots__ = ("begun_at", "control", "key", "port", "row", "run")

    def __init__(self, key: int, row: list[Any], port: ChildPort) -> None:
        self.key = key
        self.row = row
        self.port = port
        self.control = JobControl()
        self.run: Prepared | None = None
        self.begun_at = 0.0

    def begin(self, run: Prepared) -> Prepared:
        """It runs from here on."""
        self.run = run
        self.begun_at = monotonic()
        return run

    @property
    def name(self) -> str:
        """Which it is, for people."""
        job_id = encode_id(self.row[0])
        return job_id if self.run is None else f"{job_id} of {self.run.job.task}"


class Jobs:
    """All jobs that have come and not ended, by the parent's keys.

    `watch` is given if the thread that reads waits for answers itself.
    """

    def __init__(self, wire: Wire, watch: Watch | None) -> None:
        self._wire = wire
        self._watch = watch
        self._expect = None if watch is None else watch.expect
        self._jobs: dict[int, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def all(self) -> list[Job]:
        """Those of now."""
        return list(self._jobs.values())

    def add(self, key: int, row: list[Any]) -> Job:
        """A job has come."""
        job = self._jobs[key] = Job(key, row, ChildPort(self._wire, key, self._expect))
        return job

    def cancel(self, key: int, why: Any) -> None:
        """Stop a job, if it has not ended yet."""
        job = self._jobs.get(key)
        if job is not None:
            job.control.cancel(why)

    def saved(self, key: int, number: int, refusal: str | None) -> None:
        """An answer to a checkpoint."""
        if self._watch is not None:
            self._watch.met()
        job = self._jobs.get(key)
        if job is not None:
            job.port.saved(number, refusal)

    def end(self, job: Job, outcome: Outcome) -> None:
        """The job has ended; its messages leave with the next flush of the wire."""
        del self._jobs[job.key]
        try:
            job.port.close()
            self._wire.put(done_message(job.key, outcome))
        except Exception as error:
            # Something of it cannot travel. It has ended all the same, and must not hold its slot.
            self._wire.put(done_message(job.key, failed(error)))


def done_message(key: int, outcome: Outcome) -> list[Any]:
    """What the parent is told of an outcome."""
    if isinstance(outcome, Succeeded):
        return [DONE, key, SUCCEEDED, outcome.result]
    if isinstance(outcome, Failed):
        return [DONE, key, FAILED, outcome.wire]
    assert isinstance(outcome, Released)
    return [DONE, key, RELEASED, [outcome.delay_ms, outcome.reason]]
