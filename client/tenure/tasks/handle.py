"""`JobHandle`: an enqueued job in the hands of who wants to know what becomes of it.

What is decided is in plain functions; the two handles, blocking and for asyncio, only ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from tenure.errors import (
    JobNotFound,
    ResultNotKept,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
)
from tenure.info import JobInfo, Progress
from tenure.settings import mono_ms
from tenure_protocol.durations import Duration, duration_ms, format_ms
from tenure_protocol.limits import WAIT_MS_MAX

if TYPE_CHECKING:
    from tenure.tasks.app import App
    from tenure.tasks.task import Task

R_co = TypeVar("R_co", covariant=True)

UNKNOWN = "unknown"
"""The status of a job of which the broker knows nothing: it ended and was not kept, or never was."""


class JobHandle(Generic[R_co]):
    """A job that was enqueued.

    - `id`: the job's id, a text to store or hand on; `App.job(id)` makes a handle of it again.
    - `existing`: True when an unfinished job held the unique name, and this is that job.
    """

    __slots__ = ("_app", "_ended", "_task", "existing", "id")

    def __init__(
        self,
        app: App,
        job_id: str,
        task: Task[..., Any] | None,
        *,
        existing: bool = False,
        ended: JobInfo | None = None,
    ) -> None:
        self._app = app
        self._task = task
        self._ended = ended
        self.id = job_id
        self.existing = existing

    def __repr__(self) -> str:
        return _shown(self, self._task)

    @property
    def task(self) -> str | None:
        """The name of the task; None for a handle made from an id."""
        return None if self._task is None else self._task.name

    def status(self) -> str:
        """The state of the job; "unknown" when the broker keeps nothing of it."""
        try:
            return self.info().state
        except JobNotFound:
            return UNKNOWN

    def info(self) -> JobInfo:
        """All that the broker knows of the job. Raises `JobNotFound`."""
        return self._ended or self._app.client.get(self.id)

    def progress(self) -> Progress | None:
        """How far the job said it was, if it did. Raises `JobNotFound`."""
        return self.info().progress

    def cancel(self) -> str:
        """End the job if it waits; if it runs, its worker is asked to stop.

        Returns the state: "cancelled", "leased" when a worker was asked, or how the job ended
        before. Raises `JobNotFound`.
        """
        if self._ended is not None:
            return self._ended.state
        try:
            return str(self._app.client.cancel(self.id)["state"])
        except JobNotFound:
            return self.info().state

    def result(self, timeout: Duration = "1m") -> R_co:
        """What the task returned, as its annotation says. Waits up to `timeout` for it.

        Who waits when the job ends is told the result, kept or not. Later it is there for the
        task's `result_ttl`. Raises `TaskFailed`, `TaskCancelled`, `TaskExpired`,
        `ResultTimeout`, `ResultNotKept`.
        """
        waiting = _Waiting(self.id, timeout)
        info = self._ended
        try:
            while info is None:
                info = waiting.seen(self._app.client.wait(self.id, waiting.next_s()))
        except JobNotFound:
            _not_kept(self.id)
        result: R_co = _result(info, self._app, self._task)
        return result


class AsyncJobHandle(Generic[R_co]):
    """A job that was enqueued, for asyncio.

    - `id`: the job's id, a text to store or hand on; `App.ajob(id)` makes a handle of it again.
    - `existing`: True when an unfinished job held the unique name, and this is that job.
    """

    __slots__ = ("_app", "_ended", "_task", "existing", "id")

    def __init__(
        self,
        app: App,
        job_id: str,
        task: Task[..., Any] | None,
        *,
        existing: bool = False,
        ended: JobInfo | None = None,
    ) -> None:
        self._app = app
        self._task = task
        self._ended = ended
        self.id = job_id
        self.existing = existing

    def __repr__(self) -> str:
        return _shown(self, self._task)

    @property
    def task(self) -> str | None:
        """The name of the task; None for a handle made from an id."""
        return None if self._task is None else self._task.name

    async def status(self) -> str:
        """The state of the job; "unknown" when the broker keeps nothing of it."""
        try:
            return (await self.info()).state
        except JobNotFound:
            return UNKNOWN

    async def info(self) -> JobInfo:
        """All that the broker knows of the job. Raises `JobNotFound`."""
        return self._ended or await (await self._app.aclient()).get(self.id)

    async def progress(self) -> Progress | None:
        """How far the job said it was, if it did. Raises `JobNotFound`."""
        return (await self.info()).progress

    async def cancel(self) -> str:
        """End the job if it waits; if it runs, its worker is asked to stop.

        Returns the state: "cancelled", "leased" when a worker was asked, or how the job ended
        before. Raises `JobNotFound`.
        """
        if self._ended is not None:
            return self._ended.state
        client = await self._app.aclient()
        try:
            return str((await client.cancel(self.id))["state"])
        except JobNotFound:
            return (await self.info()).state

    async def result(self, timeout: Duration = "1m") -> R_co:
        """What the task returned, as its annotation says. Waits up to `timeout` for it.

        Who waits when the job ends is told the result, kept or not. Later it is there for the
        task's `result_ttl`. Raises `TaskFailed`, `TaskCancelled`, `TaskExpired`,
        `ResultTimeout`, `ResultNotKept`.
        """
        waiting = _Waiting(self.id, timeout)
        info = self._ended
        client = None if info is not None else await self._app.aclient()
        try:
            while info is None and client is not None:
                info = waiting.seen(await client.wait(self.id, waiting.next_s()))
        except JobNotFound:
            _not_kept(self.id)
        assert info is not None
        result: R_co = _result(info, self._app, self._task)
        return result


def _shown(handle: JobHandle[Any] | AsyncJobHandle[Any], task: Task[..., Any] | None) -> str:
    of = "" if task is None else f" of {task.name}"
    return f"<{type(handle).__name__} {handle.id}{of}>"


class _Waiting:
    """How long to wait on: the broker lets a request wait for an hour at most."""

    __slots__ = ("_end_ms", "_job_id", "_total_ms")

    def __init__(self, job_id: str, timeout: Duration) -> None:
        self._job_id = job_id
        self._total_ms = duration_ms(timeout, "timeout")
        self._end_ms = mono_ms() + self._total_ms

    def next_s(self) -> float:
        """The seconds to ask the broker for."""
        return max(0, min(self._end_ms - mono_ms(), WAIT_MS_MAX)) / 1000

    def seen(self, info: JobInfo) -> JobInfo | None:
        """`info` if the job has ended, None to go on. Raises `ResultTimeout`."""
        if info.ended:
            return info
        if mono_ms() < self._end_ms:
            return None
        raise ResultTimeout(
            f"job {self._job_id} has not ended after {format_ms(self._total_ms)}:"
            f" it is {info.state}",
            state=info.state,
        )


def _not_kept(job_id: str) -> NoReturn:
    raise ResultNotKept(
        f"the broker keeps nothing of job {job_id}: it has ended, or never was. Give the task"
        " a result_ttl, and its result can be read for that long"
    ) from None


def _result(info: JobInfo, app: App, task: Task[..., Any] | None) -> Any:
    """The result of an ended job. Raises what became of the job instead."""
    if info.state == "succeeded":
        if task is None and info.body_bytes is not None:
            task = app.tasks.get(info.task or "")
        return info.result if task is None else task.signature.decode_result(info.result)
    if info.state == "cancelled":
        raise TaskCancelled(f"job {info.id} was cancelled")
    if info.state == "expired":
        raise TaskExpired(f"job {info.id} was not started before it expired")
    last = info.history[-1] if info.history else None
    if last is None:
        raise TaskFailed("Dead", info.reason or "", None, info.id)
    error_type = last.error_type or last.outcome
    raise TaskFailed(error_type, last.message or "", last.traceback, info.id)
