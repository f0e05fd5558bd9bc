"""`Depends`: parameters that the worker fills in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar, overload

T = TypeVar("T")


class Dependency:
    """What stands as the default value of an injected parameter: the function that makes it.

    `function` is sync or async, or a generator of either kind that yields the value once and
    goes on after the job. It may have `Depends` defaults itself, and may take the value of
    the lifespan: a parameter named `resources`.
    """

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return f"Depends({getattr(self.function, '__qualname__', self.function)!s})"


@overload
def Depends(function: Callable[..., AsyncIterator[T]], /) -> T: ...
@overload
def Depends(function: Callable[..., Iterator[T]], /) -> T: ...
@overload
def Depends(function: Callable[..., Awaitable[T]], /) -> T: ...
@overload
def Depends(function: Callable[..., T], /) -> T: ...
def Depends(function: Callable[..., Any], /) -> Any:  # noqa: N802 - the name users know
    """The default of a parameter that the worker fills in with the value of `function`.

        @app.task
        async def send_email(to: str, smtp: Smtp = Depends(get_smtp)) -> None: ...

    A job calls each function once, whoever needs its value. Calls never give such a parameter.
    """
    if not callable(function):
        raise TypeError(f"Depends needs a function, not {type(function).__name__}")
    return Dependency(function)
