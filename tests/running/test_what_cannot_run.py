"""Jobs that no handler can run fail with the reason, and are not tried for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tenure import App
from tenure.running.delivery import Delivery
from tenure.tasks.depends import Depends
from tests.running.conftest import Run
from tests.running.jobs import delivery
from tests.running.test_outcomes import wire_of


@dataclass
class Item:
    price: float


@dataclass
class Order:
    items: list[Item]


@pytest.fixture(autouse=True)
def tasks(app: App) -> None:
    @app.task
    def send_email(to: str) -> None: ...

    @app.task
    async def ship(order: Order) -> None: ...


def test_an_unknown_task_is_tried_by_another_worker_as_long_as_there_are_attempts(run: Run) -> None:
    wire = wire_of(run(delivery("send_mail", to="ada")))
    assert wire["error_type"] == "tenure.errors.UnknownTask"
    assert "'send_mail'" in wire["message"]
    assert "send_email" in wire["message"]
    assert not wire["dead"]


def test_an_app_without_tasks_says_so(run: Run, app: App) -> None:
    app._tasks.clear()
    assert "has none at all" in wire_of(run(delivery("send_mail")))["message"]


@pytest.mark.parametrize(
    ("task", "arguments", "named"),
    [
        ("send_email", {"to": 7}, "'to' must be str, not int"),
        ("send_email", {}, "to"),
        ("send_email", {"to": "ada", "cc": "bob"}, "cc"),
        ("ship", {"order": {"items": [{"price": 1.5}, {"price": "much"}]}}, "items[1].price"),
    ],
)
def test_a_payload_that_does_not_fit_is_dead_at_once(
    run: Run, task: str, arguments: dict[str, Any], named: str
) -> None:
    wire = wire_of(run(delivery(task, **arguments)))
    assert wire["error_type"] == "tenure.errors.ArgumentError"
    assert named in wire["message"]
    assert wire["dead"]
    assert wire["traceback"] == ""


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x93\x01\x02\x03",
        b"\x94\xaasend_email\xc4\x01\xc1\xc0\x01",
        b"\x94\xaasend_email\xc4\x01\x80\xc0\x63",
    ],
    ids=["empty", "no msgpack", "no body", "no payload", "unknown codec"],
)
def test_bytes_that_are_no_job_are_dead_at_once(run: Run, body: bytes) -> None:
    odd = Delivery("0" * 26, 1, "mail", 0, body, 5, 0)
    wire = wire_of(run(odd))
    assert wire["error_type"] == "tenure.errors.PayloadError"
    assert wire["dead"]


def test_a_payload_in_json_can_be_run_as_well(run: Run, app: App) -> None:
    seen = []

    @app.task
    def note(to: str) -> None:
        seen.append(to)

    body = b'\x94\xa4note\xc4\x0c{"to":"ada"}\xc0\x02'
    run(Delivery("0" * 26, 1, "mail", 0, body, 5, 0))
    assert seen == ["ada"]


def test_a_result_that_cannot_travel_is_dead_and_says_that_the_task_ran(run: Run, app: App) -> None:
    @app.task
    def odd() -> Any:
        return object()

    wire = wire_of(run(delivery("odd")))
    assert wire["error_type"] == "tenure.errors.ArgumentError"
    assert "ran, but its result cannot travel" in wire["message"]
    assert wire["dead"]


def test_a_result_over_the_limit_is_dead(run: Run, app: App) -> None:
    @app.task
    def much() -> bytes:
        return __import__("os").urandom(2_000_000)  # type: ignore[no-any-return]

    wire = wire_of(run(delivery("much")))
    assert "the limit is 1048576" in wire["message"]
    assert wire["dead"]


def test_a_dependency_that_nobody_can_fill_in_is_named(run: Run, app: App) -> None:
    def needs(what: str) -> str:
        return what

    @app.task
    def uses(value: str = Depends(needs)) -> None: ...

    assert "nobody fills in its parameter 'what'" in wire_of(run(delivery("uses")))["message"]


def test_dependencies_in_a_circle_are_named(run: Run, app: App) -> None:
    def one(value: int = 0) -> int:
        return value

    def two(value: int = Depends(one)) -> int:
        return value

    one.__defaults__ = (Depends(two),)

    @app.task
    def uses(value: int = Depends(one)) -> None: ...

    assert "depends on itself" in wire_of(run(delivery("uses")))["message"]
