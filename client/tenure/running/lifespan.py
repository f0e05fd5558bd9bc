"""The lifespan: what an app opens once in each worker process, and closes at its end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from inspect import Parameter, isasyncgenfunction, isawaitable, isgeneratorfunction, signature
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenure.tasks.app import App


@asynccontextmanager
async def opened(app: App) -> AsyncIterator[Any]:
    """Within the block the app's lifespan is open; the value is what it yielded, or None.

    The function may be a generator or an async one, return a context manager of either kind, or
    just return the value (then there is nothing to close). A parameter, if it has one, gets
    the app.
    """
    function = app.lifespan_function
    if function is None:
        yield None
        return
    args = (app,) if _takes_app(function) else ()
    made: Any
    if isasyncgenfunction(function):
        made = asynccontextmanager(function)(*args)
    elif isgeneratorfunction(function):
        made = contextmanager(function)(*args)
    else:
        made = function(*args)
    if isawaitable(made):
        made = await made
    if isinstance(made, AbstractAsyncContextManager):
        async with made as resources:
            yield resources
    elif isinstance(made, AbstractContextManager):
        with made as resources:
            yield resources
    else:
        yield made


def _takes_app(function: Callable[..., Any]) -> bool:
    return any(
        parameter.default is Parameter.empty
        and parameter.kind in (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
        for parameter in signature(function).parameters.values()
    )
