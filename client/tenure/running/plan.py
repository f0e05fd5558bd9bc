"""How the jobs of a task are run: worked out once for each task, at its first job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from tenure.running.current import CurrentJob, prepared
from tenure.running.dependencies import (
    Opened,
    Recipe,
    close_in_thread,
    close_on_loop,
    open_in_thread,
    open_on_loop,
    recipe_for,
)
from tenure.running.onion import peel
from tenure.running.softlimit import await_limited, call_limited

if TYPE_CHECKING:
    from tenure.running.bridge import Bridge
    from tenure.running.control import JobControl
    from tenure.tasks.app import App
    from tenure.tasks.task import Task


class Plan:
    """What a runner knows of a task.

    - `is_plain`: nothing stands around the function.
    - `in_thread`: its jobs run in a thread (or a process), because the function is a `def`, or
      because a sync middleware stands around an `async def`; else they run on a loop.
    - `needs_bridge`: something of them is to run at the other place.
    """

    __slots__ = (
        "call",
        "encode_result",
        "function",
        "in_thread",
        "is_async",
        "is_plain",
        "name",
        "needs_bridge",
        "outer_is_async",
        "recipe",
        "retry",
        "soft_ms",
        "timeout_ms",
        "unpack",
    )

    def __init__(self, app: App, task: Task[..., Any]) -> None:
        signature, options = task.signature, task.options
        self.name = task.name
        self.function: Callable[..., Any] = task.function
        self.is_async = task.is_async
        self.unpack = signature.unpack
        self.encode_result = signature.encode_result
        self.retry = options.retry
        self.timeout_ms = options.timeout_ms
        self.soft_ms = options.soft_timeout_ms
        self.recipe: Recipe | None = recipe_for(signature.dependencies)
        core = partial(core_on_loop if task.is_async else core_in_thread, self)
        onion = peel(app.middlewares, core, is_async=task.is_async)
        self.call = onion.call
        self.outer_is_async = onion.is_async
        self.is_plain = not app.middlewares and self.recipe is None
        self.in_thread = onion.mixed or not task.is_async
        self.needs_bridge = onion.mixed or (
            not task.is_async and self.recipe is not None and self.recipe.is_async
        )


class Prepared:
    """A job that is ready to run: its arguments fit."""

    __slots__ = ("args", "bridge", "control", "job", "kwargs", "plan", "soft_ms")

    def __init__(
        self,
        plan: Plan,
        job: CurrentJob,
        arguments: tuple[list[Any], dict[str, Any]],
        soft_ms: int | None,
        control: JobControl,
    ) -> None:
        self.plan = plan
        self.job = job
        self.args, self.kwargs = arguments
        self.soft_ms = soft_ms
        self.control = control
        self.bridge: Bridge | None = None


async def core_on_loop(plan: Plan, job: CurrentJob) -> Any:
    """An async task and its dependencies."""
    run = prepared(job)
    if plan.recipe is None:
        return await _awaited(run, run.kwargs)
    opened: Opened = []
    result, error = None, None
    try:
        made = await open_on_loop(plan.recipe, job.resources, opened)
        result = await _awaited(run, {**run.kwargs, **made})
    except BaseException as raised:
        error = raised
    error = await close_on_loop(opened, error)
    if error is not None:
        raise error
    return result


async def _awaited(run: Prepared, kwargs: dict[str, Any]) -> Any:
    if run.control.why is not None:
        raise asyncio.CancelledError(run.control.why)
    awaited = run.plan.function(*run.args, **kwargs)
    if run.soft_ms is None:
        return await awaited
    return await await_limited(awaited, run.soft_ms, run.control)


def core_in_thread(plan: Plan, job: CurrentJob) -> Any:
    """A `def` task and its dependencies."""
    run = prepared(job)
    if plan.recipe is None:
        return called(run, run.kwargs)
    opened: Opened = []
    result, error = None, None
    try:
        made = open_in_thread(plan.recipe, job.resources, opened, run.bridge)
        result = called(run, {**run.kwargs, **made})
    except BaseException as raised:
        error = raised
    error = close_in_thread(opened, error, run.bridge)
    if error is not None:
        raise error
    return result


def called(run: Prepared, kwargs: dict[str, Any]) -> Any:
    """Call a `def` task's function, within its limits."""
    if run.control.why is not None:
        raise asyncio.CancelledError(run.control.why)
    call = partial(run.plan.function, *run.args, **kwargs)
    return call_limited(call, run.soft_ms, run.control)
