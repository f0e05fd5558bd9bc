"""What a test expects to have been enqueued, and how it is told what was enqueued instead."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgpack

from tenure.packing import pack
from tenure.tasks.call import Call
from tenure.testing.views import JobView, arguments
from tenure_protocol.durations import Duration, duration_ms

if TYPE_CHECKING:
    from tenure.tasks.task import Task

OPTIONS = ("queue", "delay", "count")
"""Keywords of `assert_enqueued` that are no arguments of the task, unless it has such."""

_SHOWN_MAX = 20


@dataclass(slots=True)
class Expected:
    """Which jobs are meant. None stands for any."""

    task: Task[..., Any]
    args: Mapping[str, Any] | None
    queue: str | None
    delay_ms: int | None
    count: int | None

    def matches(self, job: JobView) -> bool:
        """Whether this is such a job."""
        return (
            job.task == self.task.name
            and (self.args is None or job.args == self.args)
            and (self.queue is None or job.queue == self.queue)
            and (self.delay_ms is None or job.delay.total_seconds() * 1000 == self.delay_ms)
        )

    def told(self) -> str:
        """What is expected, in a line."""
        given = "…"
        if self.args is not None:
            given = ", ".join(f"{name}={value!r:.60}" for name, value in self.args.items())
        parts = [f"{self.task.name}({given})"]
        if self.queue is not None:
            parts.append(f"queue={self.queue!r}")
        if self.delay_ms is not None:
            parts.append(f"delay='{self.delay_ms / 1000:g}s'")
        return " ".join(parts)


def expected(
    what: Task[..., Any] | Call[Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Expected:
    """What the arguments of `assert_enqueued` say. Raises `ArgumentError`, `ValueError`."""
    task = what.task if isinstance(what, Call) else what
    own = {parameter.name for parameter in task.signature.parameters}
    options = {name: kwargs.pop(name, None) for name in OPTIONS if name not in own}
    delay: Duration | None = options.get("delay")
    payload: Any = None
    if isinstance(what, Call):
        if args or kwargs:
            raise TypeError("give a task with its arguments, or task.s(...) and options, not both")
        payload = what.payload
    elif args or kwargs:
        payload = task.s(*args, **kwargs).payload
    return Expected(
        task=task,
        args=None if payload is None else arguments(task, msgpack.unpackb(pack(payload))),
        queue=options.get("queue"),
        delay_ms=None if delay is None else duration_ms(delay, "delay"),
        count=options.get("count"),
    )


def check_enqueued(wanted: Expected, jobs: list[JobView]) -> JobView | None:
    """The first of the jobs that were meant. Raises `AssertionError` that shows all of them."""
    found = [job for job in jobs if wanted.matches(job)]
    if wanted.count is not None and len(found) != wanted.count:
        times = "once" if len(found) == 1 else f"{len(found)} times"
        raise AssertionError(
            f"{wanted.told()} was enqueued {times}, not {wanted.count} times. {shown(jobs)}"
        )
    if wanted.count is None and not found:
        raise AssertionError(f"{wanted.told()} was not enqueued. {shown(jobs)}")
    return found[0] if found else None


def check_not_enqueued(wanted: Expected, jobs: list[JobView]) -> None:
    """Raises `AssertionError` with the jobs that should not be there."""
    found = [job for job in jobs if wanted.matches(job)]
    if found:
        raise AssertionError(f"{wanted.told()} was enqueued. {shown(found)}")


def shown(jobs: list[JobView]) -> str:
    """A list of jobs for people."""
    if not jobs:
        return "Nothing was enqueued at all."
    lines = [f"  {job.told()}" for job in jobs[:_SHOWN_MAX]]
    if len(jobs) > _SHOWN_MAX:
        lines.append(f"  … and {len(jobs) - _SHOWN_MAX} more")
    return "\n".join(["Enqueued were:", *lines])
