"""`current_job()`: the job that runs here, for code that wants no parameter for it."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tenure.options import datetime_of
from tenure.running.checkpoints import Checkpoint, Checkpoints
from tenure.running.control import JobControl
from tenure.running.delivery import Delivery
from tenure.running.joblog import JobLog
from tenure.running.port import Port
from tenure_protocol.body import HeaderValue

if TYPE_CHECKING:
    from tenure.running.plan import Prepared

_NO_HEADERS: Mapping[str, HeaderValue] = MappingProxyType({})


class CurrentJob:
    """The job that runs, as its own code sees it.

    - `task`: the task's name; `headers`: what its producer gave with it.
    - `resources`: what the app's lifespan yielded.
    """

    __slots__ = (
        "_book",
        "_control",
        "_deadline_ms",
        "_delivery",
        "_log",
        "_port",
        "_run",
        "headers",
        "resources",
        "task",
    )

    task: str
    headers: Mapping[str, HeaderValue]
    resources: Any

    def __init__(
        self,
        delivery: Delivery,
        task: str,
        headers: Mapping[str, HeaderValue] | None,
        port: Port,
        control: JobControl,
        resources: Any = None,
        deadline_ms: int | None = None,
    ) -> None:
        self._delivery = delivery
        self.task = task
        self.headers = headers or _NO_HEADERS
        self._port = port
        self._control = control
        self.resources = resources
        self._deadline_ms = deadline_ms
        self._book: Checkpoints | None = None
        self._log: JobLog | None = None
        self._run: Prepared | None = None

    def __repr__(self) -> str:
        return f"<job {self.id} of {self.task}, attempt {self.attempt}>"

    # -- what it is ---------------------------------------------------------------------

    @property
    def id(self) -> str:
        """The job's id."""
        return self._delivery.id

    @property
    def attempt(self) -> int:
        """The number of this delivery; it rises with every one, so it fences what is written."""
        return self._delivery.attempt

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self._delivery.queue

    @property
    def max_attempts(self) -> int:
        """How many attempts may be used up."""
        return self._delivery.max_attempts

    @property
    def used(self) -> int:
        """How many attempts were used up before this one: failures, timeouts, lost leases."""
        return self._delivery.used

    @property
    def enqueued_at(self) -> datetime:
        """When the broker took the job, by the broker's clock."""
        return datetime_of(self._delivery.enqueued_at_ms)

    @property
    def deadline(self) -> datetime | None:
        """When the hard limit ends this attempt, by this machine's clock; None without one."""
        return None if self._deadline_ms is None else datetime_of(self._deadline_ms)

    # -- stopping -----------------------------------------------------------------------

    @property
    def cancelled(self) -> bool:
        """Whether the job shall stop: cancelled, its lease lost, too late, or the worker stops."""
        return self._control.why is not None

    def raise_if_cancelled(self) -> None:
        """Raise `asyncio.CancelledError` if the job shall stop: let it pass."""
        if self._control.why is not None:
            from asyncio import CancelledError

            raise CancelledError(self._control.why)

    # -- telling ------------------------------------------------------------------------

    def progress(self, n: float, total: float | None = None, message: str | None = None) -> None:
        """Tell how far the job is: `n` of `total`. As often as you like; it travels once a second.

        Raises `TypeError` when a number is none.
        """
        for name, value in (("n", n), ("total", total)):
            plain = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not plain and not (value is None and name == "total"):
                raise TypeError(f"{name} must be a number, not {type(value).__name__}")
        told = None if message is None else str(message)
        self._port.progress(_portable(n), None if total is None else _portable(total), told)

    @property
    def log(self) -> JobLog:
        """A logger whose lines can be read where the job is looked at, too."""
        if self._log is None:
            self._log = JobLog(self._port)
        return self._log

    # -- checkpoints --------------------------------------------------------------------

    def checkpoint(self, name: str) -> Checkpoint:
        """A part of the job that is done once, however often the job is tried.

            async with job.checkpoint("charged") as done:
                if not done:
                    await charge(card)

        Left without an error, the name is kept durably with the job, and `done` is True in all
        later attempts. Between the effect and its durable name there is a moment in which a crash
        makes it happen again. Plain `with` in `def` tasks. Raises `CheckpointRefused` when it
        cannot be kept.
        """
        return Checkpoint(self._checkpoints(), name)

    def checkpoint_value(self, name: str, default: Any = None) -> Any:
        """What was last kept under `name`; True for a checkpoint that was passed."""
        return self._checkpoints().values.get(name, default)

    def set_checkpoint(self, name: str, value: Any) -> None:
        """Keep a small plain value durably with the job, for later attempts. For `def` tasks.

        Raises `TypeError` for values that msgpack does not know, `CheckpointRefused` when it
        cannot be kept.
        """
        self._checkpoints().keep(name, value)

    async def aset_checkpoint(self, name: str, value: Any) -> None:
        """`set_checkpoint` for `async def` tasks."""
        await self._checkpoints().akeep(name, value)

    def _checkpoints(self) -> Checkpoints:
        if self._book is None:
            self._book = Checkpoints(self._delivery.checkpoint, self._port)
        return self._book


def _portable(number: float) -> float:
    # msgpack has integers of 64 bits, and floats.
    return number if -(1 << 63) <= number < 1 << 63 or number != number else float(number)


def prepare(job: CurrentJob, run: Prepared) -> None:
    """Note what the layers around the job's function need. For the runner."""
    job._run = run


def prepared(job: CurrentJob) -> Prepared:
    """What `prepare` noted."""
    assert job._run is not None, "jobs are prepared before they run"
    return job._run


_current: ContextVar[CurrentJob] = ContextVar("tenure.job")

enter = _current.set
leave = _current.reset


def running_job() -> CurrentJob | None:
    """The job that runs here, if one does."""
    return _current.get(None)


def current_job() -> CurrentJob:
    """The job that runs here. Raises `RuntimeError` outside of one.

    Threads that a job starts do not see it, unless they run in a copy of its context (as those
    of `asyncio.to_thread` do).
    """
    job = _current.get(None)
    if job is None:
        raise RuntimeError("there is no current job: this code does not run in a task of a worker")
    return job
