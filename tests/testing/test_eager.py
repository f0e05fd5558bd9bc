"""Eager mode: every job runs where it is enqueued."""

from __future__ import annotations

import pytest

from tenure import App, TaskFailed

app = App("tenure://nowhere.invalid")


@app.task
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


@app.task
async def aadd(a: int, b: int) -> int:
    """Adds on a loop."""
    return a + b


@app.task
def fails() -> None:
    """Fails."""
    raise ValueError("no")


@pytest.mark.usefixtures("tenure_eager")
def test_a_job_has_run_when_it_is_enqueued() -> None:
    assert add.enqueue(1, 2).result() == 3
    assert aadd.enqueue(1, 2).result() == 3


@pytest.mark.usefixtures("tenure_eager")
def test_its_error_is_its_result() -> None:
    handle = fails.enqueue()
    with pytest.raises(TaskFailed, match="ValueError: no"):
        handle.result()


@pytest.mark.usefixtures("tenure_eager")
async def test_it_works_for_asyncio() -> None:
    assert await (await aadd.aenqueue(1, 2)).result() == 3
    assert await (await add.aenqueue(1, 2)).result() == 3


@pytest.mark.usefixtures("tenure_eager")
def test_there_is_no_broker_to_talk_to() -> None:
    with pytest.raises(RuntimeError, match="no broker"):
        app.client  # noqa: B018 - looking at it is the test


def test_it_ends_with_the_test() -> None:
    assert not app.is_eager
