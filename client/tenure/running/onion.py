"""Middleware around a task: each layer sync or async, whichever the task is.

The first middleware is outermost; the task, with its dependencies, is the core. Layers of one
kind call each other. Where a sync and an async layer meet there is the job's bridge: async layers run on
the event loop and sync ones in the job's thread, whatever stands around or inside them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from tenure.running.bridge import Bridge
from tenure.running.current import CurrentJob, prepared

Layer = Callable[[CurrentJob], Any]
"""What runs a job, or the rest of it: a plain function, or one that returns a coroutine."""


class Onion(NamedTuple):
    """All layers as one. `mixed` if some are sync and some async: then there must be a bridge."""

    call: Layer
    is_async: bool
    mixed: bool


def peel(middlewares: Sequence[Callable[..., Any]], core: Layer, *, is_async: bool) -> Onion:
    """`core` with the middlewares around it."""
    mixed = False
    for middleware in reversed(middlewares):
        if is_async_callable(middleware) == is_async:
            inner = core
        else:
            inner = _onto_loop(core) if is_async else _into_thread(core)
            is_async, mixed = not is_async, True
        core = partial(_around, middleware, inner)
    return Onion(core, is_async, mixed)


def is_async_callable(function: Callable[..., Any]) -> bool:
    """Whether calling it gives a coroutine."""
    return iscoroutinefunction(function) or iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - the method is looked at, not called
    )


def bridge_of(job: CurrentJob) -> Bridge:
    """The bridge of a job that runs in a thread."""
    bridge = prepared(job).bridge
    assert bridge is not None, "mixed layers run in a thread, with a bridge"
    return bridge


def _around(middleware: Callable[..., Any], inner: Layer, job: CurrentJob) -> Any:
    return middleware(job, inner)


def _onto_loop(core: Layer) -> Layer:
    def call_next(job: CurrentJob) -> Any:
        return bridge_of(job).run(core(job))

    return call_next


def _into_thread(core: Layer) -> Layer:
    async def call_next(job: CurrentJob) -> Any:
        return await bridge_of(job).back(partial(core, job))

    return call_next
