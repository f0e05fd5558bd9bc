"""Options of single calls: what the broker has of a job is what was said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tenure import App, Retry
from tests.tasks.conftest import MakeApp


def test_a_call_becomes_a_job_of_its_task(app: App) -> None:
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    handle = add.enqueue(1, y=2)
    info = handle.info()

    assert info.task == handle.task == "add"
    assert info.payload == {"x": 1, "y": 2}
    assert info.queue == app.defaults.queue
    assert info.state == handle.status() == "ready"
    assert not handle.existing
    assert info.headers == {}


async def test_a_call_becomes_a_job_from_asyncio_too(app: App) -> None:
    @app.task
    async def add(x: int, y: int = 0) -> int:
        return x + y

    handle = await add.aenqueue(1, y=2)
    info = await handle.info()

    assert info.payload == {"x": 1, "y": 2}
    assert await handle.status() == "ready"
    assert handle.task == "add"
    await app.aclose()


def test_json_carries_arguments_too(make_app: MakeApp) -> None:
    app = make_app(codec="json")

    @app.task
    def pick(prices: dict[int, float]) -> None: ...

    info = pick.enqueue({1: 2.5}).info()

    assert info.payload == {"prices": {"1": 2.5}}
    assert pick.signature.unpack(info.payload) == ([], {"prices": {1: 2.5}})


def test_using_changes_the_options_of_some_calls_only(app: App) -> None:
    @app.task(priority="low", headers={"team": "a", "tone": "plain"})
    def work() -> None: ...

    at = datetime.now(UTC) + timedelta(hours=1)
    other = work.using(
        run_at=at, priority=1, headers={"tone": "loud"}, unique="one", expires="2d",
        max_attempts=7, lease="5m", result_ttl="1h", retry=Retry.fixed("9s"),
    )  # fmt: skip
    info, plain = other.enqueue().info(), work.enqueue().info()

    assert info.state == "scheduled"
    assert info.ready_at_ms == round(at.timestamp() * 1000)
    assert info.priority == 1
    assert info.headers == {"team": "a", "tone": "loud"}
    assert info.unique == "one"
    assert info.max_attempts == 7
    assert info.lease_ms == 300_000
    assert info.expires_at_ms is not None
    assert plain.state == "ready"
    assert plain.priority == 192
    assert plain.headers == {"team": "a", "tone": "plain"}
    assert plain.unique is None
    assert list(app.tasks.values()) == [work]


def test_using_builds_on_using(app: App) -> None:
    @app.task(retry=Retry(4), unique=True)
    def work() -> None: ...

    later = work.using(delay="1h")
    at = datetime.now(UTC) + timedelta(days=1)

    assert later.using(priority=3).options.delay == "1h"
    assert later.using(run_at=at).options.delay is None
    assert work.using(run_at=at).using(delay=5).options.run_at is None
    assert work.using(unique=False).s().unique is None
    assert work.using(max_attempts=9).using(retry=Retry(2)).enqueue().info().max_attempts == 2
    assert (
        work.using(max_attempts=9, unique="b")
        .using(retry=Retry.fixed(1))
        .job_options["max_attempts"]
        == 9
    )


def test_limits_travel_only_when_they_are_not_those_of_the_task(app: App) -> None:
    @app.task(timeout="30s", soft_timeout="20s")
    def work() -> None: ...

    assert work.enqueue().info().headers == {}
    assert work.using(timeout="30s").enqueue().info().headers == {}
    assert work.using(timeout="60s", soft_timeout="40s").enqueue().info().headers == {
        "tenure.timeout_ms": 60_000,
        "tenure.soft_timeout_ms": 40_000,
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"delay": 1, "run_at": 5}, "give delay or run_at, not both"),
        ({"run_at": datetime(2030, 1, 1)}, "run_at has no time zone"),
        ({"headers": {"tenure.timeout_ms": 1}}, "reserved"),
        ({"headers": {5: 1}}, "headers: a name must be a text, not int"),
        ({"priority": "urgent"}, "priority must be 0 to 255"),
        ({"expires": 0}, "expires must be more than nothing"),
        ({"soft_timeout": "2h"}, "soft_timeout must be shorter than timeout"),
        ({"unique": "{nobody}"}, "there is no argument 'nobody'"),
    ],
)
def test_an_impossible_option_is_refused_where_it_is_said(
    options: dict[str, Any], told: str
) -> None:
    app = App("tenure://127.0.0.1:1")

    @app.task(timeout="1h")
    def work() -> None: ...

    with pytest.raises((TypeError, ValueError), match=told):
        work.using(**options)


def test_the_words_of_celery_do_what_they_did(app: App) -> None:
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    at = datetime.now(UTC) + timedelta(hours=1)

    assert add.delay(1, y=2).info().payload == {"x": 1, "y": 2}
    assert add.apply_async((1,), {"y": 2}).info().payload == {"x": 1, "y": 2}
    assert add.apply_async([1], countdown=60).info().state == "scheduled"
    assert add.apply_async([1], eta=at).info().ready_at_ms == round(at.timestamp() * 1000)
    assert add.apply_async([1], priority=3, queue="else").info().queue == "else"


def test_words_of_celery_that_mean_nothing_here_are_refused(app: App) -> None:
    @app.task
    def add(x: int) -> int:
        return x

    with pytest.raises(
        TypeError, match="apply_async: 'link' is not an option; there are countdown"
    ):
        add.apply_async([1], link=add)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="give countdown or delay, not both"):
        add.apply_async([1], countdown=1, delay=2)
    with pytest.raises(TypeError, match="must be int, not str"):
        add.apply_async(["1"])
