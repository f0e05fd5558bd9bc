"""The values of `Depends` parameters: made for each job, and closed after it.

A recipe lists what to make, each function once, what it needs before it. Generators are closed
in reverse order. An error of the job is thrown into them, so that a transaction can roll back; they
may raise another one instead, but a failed job does not become a good one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from dataclasses import dataclass
from inspect import Parameter, isasyncgenfunction, isgeneratorfunction, signature
from typing import Any

from tenure.running.bridge import Bridge
from tenure.running.onion import is_async_callable
from tenure.tasks.depends import Dependency

RESOURCES = "resources"
"""The parameter of a dependency that gets what the lifespan yielded."""


@dataclass(frozen=True, slots=True)
class Step:
    """One function to call; `needs` says which parameter gets the value of which earlier step."""

    function: Callable[..., Any]
    is_async: bool
    is_generator: bool
    needs: tuple[tuple[str, int], ...]
    takes_resources: bool

    def arguments(self, values: list[Any], resources: Any) -> dict[str, Any]:
        """What to call the function with, given the values of the earlier steps."""
        given = {name: values[index] for name, index in self.needs}
        if self.takes_resources:
            given[RESOURCES] = resources
        return given


@dataclass(frozen=True, slots=True)
class Recipe:
    """All steps for a task, and which of its parameters gets the value of which."""

    steps: tuple[Step, ...]
    targets: tuple[tuple[str, int], ...]

    @property
    def is_async(self) -> bool:
        """Whether an event loop is needed."""
        return any(step.is_async for step in self.steps)


Opened = list[tuple[Step, Any]]
"""The generators that have yielded and are to be closed, oldest first."""


def recipe_for(dependencies: Mapping[str, Dependency]) -> Recipe | None:
    """How to make what a task needs; None if it needs nothing.

    Raises `TypeError` for a function that has a parameter nobody fills in, or that needs itself.
    """
    if not dependencies:
        return None
    steps: list[Step] = []
    places: dict[Callable[..., Any], int | None] = {}
    targets = tuple(
        (name, _place(dependency.function, steps, places))
        for name, dependency in dependencies.items()
    )
    return Recipe(tuple(steps), targets)


def _place(
    function: Callable[..., Any],
    steps: list[Step],
    places: dict[Callable[..., Any], int | None],
) -> int:
    if function in places:
        place = places[function]
        if place is None:
            raise TypeError(f"{_name(function)} depends on itself")
        return place
    places[function] = None
    needs: list[tuple[str, int]] = []
    takes_resources = False
    for name, parameter in signature(function).parameters.items():
        if isinstance(parameter.default, Dependency):
            needs.append((name, _place(parameter.default.function, steps, places)))
        elif name == RESOURCES:
            takes_resources = True
        elif parameter.default is Parameter.empty and parameter.kind not in (
            Parameter.VAR_POSITIONAL,
            Parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"{_name(function)}: nobody fills in its parameter {name!r}; give it a default,"
                f" Depends(...), or the name {RESOURCES!r}"
            )
    steps.append(_step(function, tuple(needs), takes_resources))
    places[function] = len(steps) - 1
    return len(steps) - 1


def _step(
    function: Callable[..., Any], needs: tuple[tuple[str, int], ...], takes_resources: bool
) -> Step:
    is_async_generator = isasyncgenfunction(function)
    return Step(
        function,
        is_async=is_async_generator or is_async_callable(function),
        is_generator=is_async_generator or isgeneratorfunction(function),
        needs=needs,
        takes_resources=takes_resources,
    )


def _name(function: Callable[..., Any]) -> str:
    return f"dependency {getattr(function, '__qualname__', function)}"


# -- on a loop ----------------------------------------------------------------------------


async def open_on_loop(recipe: Recipe, resources: Any, opened: Opened) -> dict[str, Any]:
    """The arguments for the task; what is to be closed is added to `opened` as it is opened."""
    values: list[Any] = []
    for step in recipe.steps:
        made = step.function(**step.arguments(values, resources))
        if step.is_generator:
            value = await anext(made) if step.is_async else next(made)
            opened.append((step, made))
        else:
            value = await made if step.is_async else made
        values.append(value)
    return {name: values[index] for name, index in recipe.targets}


async def close_on_loop(opened: Opened, error: BaseException | None) -> BaseException | None:
    """Close all, newest first; the error that counts in the end."""
    for step, made in reversed(opened):
        if step.is_async:
            error = await _close_async(made, error)
        else:
            error = _close(made, error)
    return error


async def _close_async(
    made: AsyncGenerator[Any, None], error: BaseException | None
) -> BaseException | None:
    try:
        if error is None:
            await anext(made)
        else:
            await made.athrow(error)
    except StopAsyncIteration:
        return error
    except BaseException as problem:
        return problem
    await made.aclose()
    return error or _yielded_twice(made)


# -- in a thread --------------------------------------------------------------------------


def open_in_thread(
    recipe: Recipe, resources: Any, opened: Opened, bridge: Bridge | None
) -> dict[str, Any]:
    """`open_on_loop` for a thread; async steps go over the bridge."""
    values: list[Any] = []
    for step in recipe.steps:
        made = step.function(**step.arguments(values, resources))
        if step.is_async:
            assert bridge is not None, "async dependencies need a bridge"
            value = bridge.run(_first(made) if step.is_generator else _awaited(made))
        else:
            value = next(made) if step.is_generator else made
        if step.is_generator:
            opened.append((step, made))
        values.append(value)
    return {name: values[index] for name, index in recipe.targets}


def close_in_thread(
    opened: Opened, error: BaseException | None, bridge: Bridge | None
) -> BaseException | None:
    """`close_on_loop` for a thread."""
    for step, made in reversed(opened):
        if step.is_async:
            assert bridge is not None, "async dependencies need a bridge"
            error = bridge.run(_close_async(made, error), cleanup=True)
        else:
            error = _close(made, error)
    return error


def _close(made: Generator[Any, None, None], error: BaseException | None) -> BaseException | None:
    try:
        if error is None:
            next(made)
        else:
            made.throw(error)
    except StopIteration:
        return error
    except BaseException as problem:
        return problem
    made.close()
    return error or _yielded_twice(made)


def _yielded_twice(made: object) -> RuntimeError:
    return RuntimeError(
        f"dependency {getattr(made, '__qualname__', made)} yielded twice: once is the value,"
        " what comes after it is for closing"
    )


async def _first(made: AsyncGenerator[Any, None]) -> Any:
    return await anext(made)


async def _awaited(made: Any) -> Any:
    return await made
