"""Hooks: functions of the app that are told what became of jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tenure.running.onion import is_async_callable
from tenure_protocol.ids import encode_id

if TYPE_CHECKING:
    from tenure.tasks.app import App

STARTED = "job.started"
"""The one kind that is told where the job runs, just before it does."""

_logger = logging.getLogger("tenure.hooks")


@dataclass(frozen=True, slots=True)
class JobEvent:
    """What happened to a job. `details` has what else is known, by the names of the protocol."""

    kind: str
    job_id: str
    task: str
    queue: str
    attempt: int
    error_type: str | None = None
    message: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


def job_event(kind: str, data: Mapping[str, Any]) -> JobEvent:
    """An event from its map: `id`, `task`, `queue`, `attempt`, and whatever else."""
    job_id = data.get("id", "")
    return JobEvent(
        kind=kind,
        job_id=encode_id(job_id) if isinstance(job_id, bytes) else job_id,
        task=data.get("task") or "",
        queue=data.get("queue") or "",
        attempt=data.get("attempt") or 0,
        error_type=data.get("error_type"),
        message=data.get("message"),
        details=data,
    )


async def run_hooks(app: App, kind: str, data: Mapping[str, Any]) -> None:
    """Run the hooks of a kind, one after another; sync ones in a thread. Errors are logged."""
    event = job_event(kind, data)
    for hook in app.hooks.get(kind, ()):
        try:
            if is_async_callable(hook):
                await hook(event)
            else:
                await asyncio.to_thread(hook, event)
        except asyncio.CancelledError:
            raise
        except BaseException:  # one that exits must not take the jobs of its process along
            _told(hook, event)


def call_hooks(
    app: App, kind: str, data: Mapping[str, Any], run: Callable[[Any], Any] | None
) -> None:
    """`run_hooks` in a thread. `run` runs a coroutine to its end."""
    event = job_event(kind, data)
    for hook in app.hooks.get(kind, ()):
        try:
            if not is_async_callable(hook):
                hook(event)
            elif run is not None:
                run(_held(hook(event)))
        except BaseException:
            _told(hook, event)


async def _held(hook: Coroutine[Any, Any, Any]) -> None:
    try:
        await hook
    except (SystemExit, KeyboardInterrupt) as error:  # they would end the loop as well
        raise RuntimeError(f"it raised {type(error).__name__}") from error


def _told(hook: Callable[..., Any], event: JobEvent) -> None:
    name = getattr(hook, "__qualname__", hook)
    _logger.exception("the hook %s failed for %s of job %s", name, event.kind, event.job_id)
