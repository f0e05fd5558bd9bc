"""Both clients have the same methods, with the same parameters and the same words."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tenure import AsyncClient, Client


def public(cls: type) -> dict[str, Any]:
    return {name: member for name, member in vars(cls).items() if not name.startswith("_")}


METHODS = [name for name, member in public(Client).items() if callable(member)]


def test_both_have_the_same_names() -> None:
    assert list(public(Client)) == list(public(AsyncClient))


@pytest.mark.parametrize("name", ["__init__", *METHODS])
def test_both_take_the_same_parameters(name: str) -> None:
    blocking = inspect.signature(getattr(Client, name))
    waiting = inspect.signature(getattr(AsyncClient, name))

    assert list(blocking.parameters) == list(waiting.parameters)
    for ours, theirs in zip(blocking.parameters.values(), waiting.parameters.values(), strict=True):
        assert (ours.kind, ours.default) == (theirs.kind, theirs.default)
        if (name, ours.name) != ("enqueue_many", "jobs"):
            assert ours.annotation == theirs.annotation
    assert blocking.return_annotation == waiting.return_annotation


def test_only_the_async_client_takes_async_iterables() -> None:
    jobs = inspect.signature(AsyncClient.enqueue_many).parameters["jobs"]

    assert jobs.annotation == "Iterable[NewJob] | AsyncIterable[NewJob]"


@pytest.mark.parametrize("name", list(public(Client)))
def test_both_are_explained_with_the_same_words(name: str) -> None:
    assert getattr(Client, name).__doc__ == getattr(AsyncClient, name).__doc__
    assert getattr(Client, name).__doc__


@pytest.mark.parametrize("name", METHODS)
def test_every_method_of_the_async_client_is_awaited(name: str) -> None:
    method: Callable[..., Any] = getattr(AsyncClient, name)

    assert inspect.iscoroutinefunction(method)
    assert not inspect.iscoroutinefunction(getattr(Client, name))


def test_importing_the_package_imports_nothing_beyond_msgpack_and_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import tenure;"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    # msgpack is compiled by Cython, which leaves modules of its own.
    imported = {name for name in run.stdout.split() if "cython" not in name}

    foreign = imported - set(sys.stdlib_module_names) - {"tenure", "tenure_protocol", "msgpack"}
    assert not foreign
    assert not imported & {"asyncio", "zstandard", "logging", "json.tool", "tenure_server"}


def test_every_error_is_one_kind_of_error() -> None:
    import tenure
    from tenure import errors

    for name in errors.__all__:
        if name != "CODES":
            assert issubclass(getattr(errors, name), tenure.TenureError)
            assert getattr(tenure, name) is getattr(errors, name)
