"""Fixtures of the tests of tasks: a real broker, and apps that speak to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tenure import App
from tests.support.broker_process import BrokerProcess

MakeApp = Callable[..., App]


@pytest.fixture(scope="package")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with BrokerProcess(tmp_path_factory.mktemp("tasks"), http="127.0.0.1:0") as running:
        yield running


@pytest.fixture
def make_app(broker: BrokerProcess, request: pytest.FixtureRequest) -> Iterator[MakeApp]:
    """Makes apps whose queue is the test's own; they are closed after it."""
    queue = "".join(c if c.isalnum() else "-" for c in request.node.name.lower())[:100]
    made: list[App] = []

    def make(**options: Any) -> App:
        app = App(broker.url, **{"queue": queue, **options})
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()


@pytest.fixture
def app(make_app: MakeApp) -> App:
    """An app whose queue is the test's own."""
    return make_app()
