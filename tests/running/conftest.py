"""Every way to run a job: tests that take `run` hold in all of them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import pytest

from tenure import App
from tenure.running.control import JobControl
from tenure.running.delivery import Delivery
from tenure.running.outcome import Outcome
from tenure.running.port import NoPort, Port
from tenure.running.runner import Runner

Run = Callable[..., Outcome]


@pytest.fixture
def app() -> App:
    return App(name="tests")


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that runs in a thread of its own, as a host's does for its jobs in threads."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(params=["on a loop", "in this thread", "in a thread beside a loop", "own loop"])
def run(request: pytest.FixtureRequest, app: App, loop: asyncio.AbstractEventLoop) -> Run:
    """Runs a delivery of `app`."""

    def run(
        delivery: Delivery,
        port: Port | None = None,
        control: JobControl | None = None,
        resources: object = None,
    ) -> Outcome:
        port = NoPort() if port is None else port
        control = JobControl() if control is None else control
        if request.param == "on a loop":
            return asyncio.run(Runner(app, resources).run(delivery, port, control))
        if request.param == "in this thread":
            return Runner(app, resources).run_blocking(delivery, port, control)
        if request.param == "own loop":
            own = asyncio.new_event_loop()
            try:
                return Runner(app, resources, loop=own).run_blocking(delivery, port, control)
            finally:
                own.close()
        return Runner(app, resources, loop=loop).run_blocking(delivery, port, control)

    return run
