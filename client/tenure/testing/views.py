"""Jobs as a test looks at them: also those the broker has forgotten."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tenure.errors import (
    ArgumentError,
    ResultNotKept,
    ResultTimeout,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
)
from tenure.info import JobInfo
from tenure.testing.ledger import GONE, Entry, Ledger
from tenure.testing.sources import HINT

if TYPE_CHECKING:
    from tenure.tasks.task import Task


class JobView:
    """A job that was enqueued in the test. What it shows is as of now, whenever it is asked."""

    def __init__(self, ledger: Ledger, entry: Entry, task: Task[..., Any] | None) -> None:
        self._ledger = ledger
        self._entry = entry
        self._task = task

    @property
    def id(self) -> str:
        """The job's id."""
        return self._entry.first.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self._entry.first.task or ""

    @property
    def queue(self) -> str:
        """The queue it was enqueued in."""
        return self._entry.first.queue

    @property
    def args(self) -> Mapping[str, Any]:
        """The arguments by their names, as the task gets them, with defaults filled in."""
        return arguments(self._task, self._entry.first.payload)

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers it was enqueued with."""
        return self._entry.first.headers or {}

    @property
    def delay(self) -> timedelta:
        """How long after its enqueue it was to run first."""
        return timedelta(milliseconds=self._entry.delay_ms)

    @property
    def info(self) -> JobInfo:
        """All that the broker knows of it, or knew when it ended."""
        self._ledger.refreshed(self.id)
        return self._entry.last

    @property
    def state(self) -> str:
        """Where it is: "ready", "retrying", "succeeded", …; "gone" if its queue was purged."""
        return self.info.state

    def result(self) -> Any:
        """What the task returned, whether the broker keeps it or not.

        Raises `TaskFailed`, `TaskCancelled`, `TaskExpired`; `ResultTimeout` for a job that has
        not ended; `ResultNotKept` for one that was purged.
        """
        info = self.info
        match info.state:
            case "succeeded":
                plain = info.result
                return plain if self._task is None else self._task.signature.decode_result(plain)
            case "dead":
                raise failed(info)
            case "cancelled":
                raise TaskCancelled(f"job {info.id} was cancelled")
            case "expired":
                raise TaskExpired(f"job {info.id} expired before it was started")
            case state if state == GONE:
                raise ResultNotKept(f"job {info.id} is gone: its queue was purged or deleted")
            case state:
                raise ResultTimeout(f"job {info.id} is {state}: {HINT}", state=state)

    def __repr__(self) -> str:
        return f"<{self.told()}>"

    def told(self) -> str:
        """The job in a line."""
        first = self._entry.first
        given = ", ".join(f"{name}={value!r:.60}" for name, value in self._given().items())
        parts = [f"{self.task}({given})", f"queue={first.queue!r}"]
        if self._entry.delay_ms:
            parts.append(f"delay='{self._entry.delay_ms / 1000:g}s'")
        return f"{' '.join(parts)} [{self.state}]"

    def _given(self) -> Mapping[str, Any]:
        payload = self._entry.first.payload
        if payload is None:
            return {}
        return payload if isinstance(payload, dict) else {"payload": payload}


def arguments(task: Task[..., Any] | None, payload: Any) -> dict[str, Any]:
    """The arguments in a payload: as the task gets them, or as they travel if it is not known."""
    plain = payload if isinstance(payload, dict) else {}
    if task is None:
        return plain
    try:
        args, kwargs = task.signature.unpack(payload)
        bound = inspect.signature(task.function).bind_partial(*args, **kwargs)
    except (ArgumentError, TypeError):
        return plain
    bound.apply_defaults()
    for name in task.signature.dependencies:
        bound.arguments.pop(name, None)
    return dict(bound.arguments)


def failed(info: JobInfo) -> TaskFailed:
    """The error that a dead job ended with."""
    last = next((past for past in reversed(info.history) if past.error_type), None)
    if last is None:
        return TaskFailed(info.reason or "dead", "", None, info.id)
    return TaskFailed(last.error_type or "", last.message or "", last.traceback, info.id)
