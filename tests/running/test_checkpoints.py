"""Checkpoints: what is done once stays done in later attempts."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest

from tenure import App, current_job
from tenure.errors import TenureError
from tenure.running.outcome import Succeeded
from tests.running.conftest import Run
from tests.running.jobs import RememberingPort, delivery
from tests.running.test_outcomes import wire_of


@pytest.fixture(params=["def", "async def"])
def effects(request: pytest.FixtureRequest, app: App) -> list[str]:
    """What the task `pay` has done: three steps, the last of which fails the first time."""
    effects: list[str] = []

    def last() -> None:
        effects.append("ship")
        if effects.count("ship") == 1:
            raise ConnectionError("no ship")

    if request.param == "def":

        @app.task(name="pay")
        def pay() -> None:
            job = current_job()
            for name in ("charge", "print"):
                with job.checkpoint(name) as done:
                    if not done:
                        effects.append(name)
            with job.checkpoint("ship"):
                last()
    else:

        @app.task(name="pay")
        async def apay() -> None:
            job = current_job()
            for name in ("charge", "print"):
                async with job.checkpoint(name) as done:
                    if not done:
                        effects.append(name)
            async with job.checkpoint("ship"):
                last()

    return effects


def test_what_was_passed_is_done_in_the_next_attempt(run: Run, effects: list[str]) -> None:
    port = RememberingPort()
    assert wire_of(run(delivery("pay"), port))["message"] == "no ship"
    again = delivery("pay", extra={"checkpoint": port.saved[-1], "lost": 1})
    assert run(again, port) == Succeeded(None)
    assert effects == ["charge", "print", "ship", "ship"]
    assert msgpack.unpackb(port.saved[-1]) == {"charge": True, "print": True, "ship": True}


def test_a_refusal_is_raised_where_the_checkpoint_ends(run: Run, effects: list[str]) -> None:
    port = RememberingPort(TenureError("the lease is lost"))
    wire = wire_of(run(delivery("pay"), port))
    assert wire["error_type"] == "tenure.running.checkpoints.CheckpointRefused"
    assert "'charge' was not kept: the lease is lost" in wire["message"]
    assert effects == ["charge"]


def test_small_values_are_kept_beside(app: App, run: Run) -> None:
    seen: list[Any] = []

    @app.task
    def task() -> None:
        job = current_job()
        seen.append(job.checkpoint_value("cursor"))
        job.set_checkpoint("cursor", [7, "x"])
        seen.append(job.checkpoint_value("cursor"))

    @app.task
    async def atask() -> None:
        job = current_job()
        seen.append(job.checkpoint_value("cursor"))
        await job.aset_checkpoint("cursor", 8)

    port = RememberingPort()
    run(delivery("task"), port)
    run(delivery("atask", extra={"checkpoint": port.saved[-1]}), port)
    assert seen == [None, [7, "x"], [7, "x"]]
    assert msgpack.unpackb(port.saved[-1]) == {"cursor": 8}


def test_a_with_that_would_block_the_loop_is_refused(app: App, run: Run) -> None:
    @app.task
    async def task() -> None:
        with current_job().checkpoint("charge"):
            pass

    assert "use `async with" in wire_of(run(delivery("task")))["message"]
