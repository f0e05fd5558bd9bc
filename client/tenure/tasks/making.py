"""From a decorated function to a task: names, executors, and what cannot be one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import isasyncgenfunction, isgeneratorfunction
from typing import TYPE_CHECKING, Any

from tenure.tasks.options import changed
from tenure.tasks.task import AsyncTask, Task, is_async
from tenure_protocol.limits import TASK_BYTES_MAX

if TYPE_CHECKING:
    from tenure.tasks.app import App

_OPTIONS = frozenset({
    "queue", "priority", "retry", "max_attempts", "timeout", "soft_timeout", "lease", "unique",
    "expires", "result_ttl", "executor", "headers",
})  # fmt: skip


def make_task(app: App, function: Callable[..., Any], given: Mapping[str, Any]) -> Task[..., Any]:
    """A task of `app`. Raises `TypeError` or `ValueError` that says what cannot be one."""
    given = dict(given)
    name = _name(function, given.pop("name", None))
    unknown = sorted(set(given) - _OPTIONS)
    if unknown:
        raise TypeError(f"{unknown[0]!r} is not an option of a task; there are {_listed()}")
    if name in app.tasks:
        other = app.tasks[name].function
        where = f"{other.__module__}.{other.__qualname__}"
        raise ValueError(f"the app has a task {name!r} already: {where}; give one a name=")
    try:
        options = changed(app.defaults, given)
        kind = AsyncTask if is_async(function) else Task
        task: Task[..., Any] = kind(app, function, name, options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"task {name}: {error}") from None
    _check_executor(name, options.executor, is_async=task.is_async)
    return task


def _listed() -> str:
    return ", ".join(["name", *sorted(_OPTIONS)])


def _name(function: Any, name: str | None) -> str:
    if isinstance(function, Task):
        raise TypeError(f"{function.name} is a task already")
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"a task must be a function, not {function!r:.80}")
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(f"{function.__qualname__} is a generator; a task returns one result")
    if name is None:
        name = getattr(function, "__name__", None)
        if not name or name == "<lambda>":
            raise ValueError(f"{function!r:.80} has no name of its own; give the task a name=")
    if not isinstance(name, str):
        raise TypeError(f"name must be a text, not {type(name).__name__}")
    if not 1 <= len(name.encode()) <= TASK_BYTES_MAX:
        raise ValueError(f"name must have 1 to {TASK_BYTES_MAX} bytes")
    return name


def _check_executor(name: str, executor: str | None, *, is_async: bool) -> None:
    if is_async and executor == "thread":
        raise ValueError(f"task {name}: an async def runs in the loop, not in a thread")
    if not is_async and executor == "async":
        raise ValueError(f"task {name}: a def would block the loop; make it an async def")
