"""The lifespan of an app: any way to open something and close it again."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from tenure import App
from tenure.running.lifespan import opened

seen: list[str] = []


def generator() -> Iterator[str]:
    seen.append("opens")
    yield "pool"
    seen.append("closes")


async def async_generator() -> AsyncIterator[str]:
    seen.append("opens")
    yield "pool"
    seen.append("closes")


def takes_app(app: App) -> Iterator[str]:
    seen.append("opens")
    assert isinstance(app, App)
    yield "pool"
    seen.append("closes")


@pytest.mark.parametrize(
    "function",
    [
        generator,
        async_generator,
        contextmanager(generator),
        asynccontextmanager(async_generator),
        takes_app,
    ],
    ids=["generator", "async generator", "manager", "async manager", "with the app"],
)
async def test_it_is_opened_and_closed_once(app: App, function: Callable[..., Any]) -> None:
    seen.clear()
    app.lifespan(function)
    async with opened(app) as resources:
        assert resources == "pool"
        assert seen == ["opens"]
    assert seen == ["opens", "closes"]


async def test_a_function_may_just_return_the_resources(app: App) -> None:
    async def resources() -> str:
        return "pool"

    app.lifespan(resources)
    async with opened(app) as value:
        assert value == "pool"


async def test_without_a_lifespan_there_are_no_resources(app: App) -> None:
    async with opened(app) as resources:
        assert resources is None
