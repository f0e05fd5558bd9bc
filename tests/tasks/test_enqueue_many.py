"""Many calls are stored in few requests, and their handles come in their order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from os import urandom
from typing import Any

import pytest

from tenure import App, ArgumentError, Call, Client, NewJob, PartlyEnqueued, TenureError
from tenure.tasks.connections import using
from tests.tasks.conftest import MakeApp


class Counting:
    """Clients that note which queue was asked to take how many jobs."""

    eager = False

    def __init__(self, client: Client) -> None:
        self.taken: list[tuple[str, int]] = []
        self._client = client

    def client(self, app: App) -> Any:
        return self

    async def aclient(self, app: App) -> Any:
        raise AssertionError("nothing here is asynchronous")

    def enqueue_many(self, queue: str, jobs: Iterable[NewJob], **options: Any) -> list[str]:
        listed = list(jobs)
        self.taken.append((queue, len(listed)))
        return self._client.enqueue_many(queue, listed, **options)


def test_the_handles_are_in_the_order_of_the_calls(app: App) -> None:
    @app.task
    def add(x: int, y: int = 0) -> int:
        return x + y

    handles = app.enqueue_many(add.s(i) for i in range(2_500))

    assert len({handle.id for handle in handles}) == 2_500
    assert [handles[i].info().payload for i in (0, 999, 1_000, 2_499)] == [
        {"x": 0}, {"x": 999}, {"x": 1_000}, {"x": 2_499},
    ]  # fmt: skip
    assert handles[7].task == "add"
    assert app.enqueue_many([]) == []


def test_calls_of_several_tasks_and_queues_keep_their_places(app: App) -> None:
    @app.task(priority="high", headers={"a": 1})
    def here(x: int) -> None: ...

    @app.task(queue="elsewhere-1", unique="{x}")
    def there(x: int) -> None: ...

    calls: list[Call[None]] = [(here, there)[i % 2].s(i) for i in range(2_200)]
    handles = app.enqueue_many(iter(calls))

    for place in (0, 1, 2_198, 2_199):
        info = handles[place].info()
        assert info.payload == {"x": place}
        assert info.task == ("here", "there")[place % 2]
        assert info.unique == (None, str(place))[place % 2]
        assert info.headers == ({"a": 1}, {})[place % 2]
        assert info.queue == (app.defaults.queue, "elsewhere-1")[place % 2]


def test_each_queue_is_asked_once(app: App) -> None:
    @app.task
    def here(x: int) -> None: ...

    counting = Counting(app.client)
    queue = app.defaults.queue
    other = here.using(queue="elsewhere-2")
    with using(counting):
        app.enqueue_many((here, other)[i % 2].s(i) for i in range(1_000))
        assert counting.taken == [(queue, 500), ("elsewhere-2", 500)]
        counting.taken.clear()

        app.enqueue_many(here.s(i) for i in range(30_000))
        assert counting.taken == [(queue, 30_000)]
        counting.taken.clear()

        calls = [here.s(i) for i in range(1_500)] + [other.s(i) for i in range(500)]
        handles = app.enqueue_many(calls)
        assert counting.taken == [(queue, 1_500), ("elsewhere-2", 500)]
    assert handles[1_500].info().queue == "elsewhere-2"
    assert handles[1_499].info().payload == {"x": 1_499}


def test_tasks_of_one_queue_keep_their_own_options_and_their_order(app: App) -> None:
    @app.task(priority=7, headers={"a": 1}, max_attempts=3)
    def eager_one(x: int) -> None: ...

    @app.task(priority=7)
    def plain_one(x: int) -> None: ...

    @app.task(priority=7)
    def like_plain(x: int) -> None: ...

    tasks = (plain_one, like_plain, eager_one)
    for count in (3, 1_200):
        mixed = [tasks[i % 3].s(i) for i in range(count)]
        # Alike at first, so that they begin as a stream.
        late = [tasks[i % 2].s(i) for i in range(1_100)] + [eager_one.s(i) for i in range(5)]
        for calls in (mixed, late):
            handles = app.enqueue_many(calls)
            assert [h.task for h in handles] == [call.task.name for call in calls]
            for handle in (*handles[:3], handles[-1]):
                info = handle.info()
                special = info.task == "eager_one"
                assert info.headers == ({"a": 1} if special else {})
                assert info.max_attempts == (3 if special else 5)
                assert info.priority == 7
            app.client.purge_queue(app.defaults.queue)

    app.enqueue_many(tasks[i % 3].s(i) for i in range(30))
    leased = app.client.reserve(app.defaults.queue, max_jobs=30)
    assert [job.payload["x"] for job in leased] == list(range(30))


async def test_asyncio_programs_have_the_same(app: App) -> None:
    @app.task
    def here(x: int) -> None: ...

    other = here.using(queue="elsewhere-3")

    async def calls() -> AsyncIterator[Call[None]]:
        for i in range(10):
            yield (here, other)[i % 2].s(i)

    handles = await app.aenqueue_many(calls())
    assert [(await handle.info()).payload for handle in handles] == [{"x": i} for i in range(10)]
    more = await app.aenqueue_many(here.s(i) for i in range(1_500))
    assert (await more[-1].info()).payload == {"x": 1_499}
    await app.aclose()


def test_a_wrong_call_stores_nothing_when_it_is_the_first(app: App) -> None:
    @app.task
    def here(x: int) -> None: ...

    with pytest.raises(ArgumentError, match=r"here\(\): argument 'x' must be int, not str"):
        app.enqueue_many(here.s(x) for x in ("a", 1))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"calls must be made with task.s\(...\), not 5"):
        app.enqueue_many([5])  # type: ignore[arg-type]


def test_what_was_stored_before_a_failure_is_told(app: App) -> None:
    @app.task
    def here(x: int) -> None: ...

    def calls() -> Iterator[Call[None]]:
        for i in range(5_000):
            yield here.s(i)
        yield here.s("a")  # type: ignore[arg-type]

    with pytest.raises(
        PartlyEnqueued, match=r"5000 of 5\d+ jobs were stored, then: here\(\)"
    ) as caught:
        app.enqueue_many(calls())

    stored = [job_id for job_id in caught.value.ids if job_id is not None]
    assert isinstance(caught.value.__cause__, ArgumentError)
    assert app.job(stored[-1]).info().payload == {"x": len(stored) - 1}


def test_the_argument_that_the_codec_cannot_carry_is_named(app: App) -> None:
    @app.task
    def here(x: str) -> None: ...

    other = here.using(queue="elsewhere-4")
    with pytest.raises(ArgumentError, match=r"here\(\): argument 'x': msgpack cannot carry it"):
        app.enqueue_many([here.s("a"), here.s("\udcff")])
    with pytest.raises(PartlyEnqueued, match=r"1 of 3 jobs were stored, .* argument 'x'") as caught:
        app.enqueue_many([here.s("a"), other.s("b"), other.s("\udcff")])
    assert [job_id is not None for job_id in caught.value.ids] == [True, False, False]


def test_what_a_broker_refuses_is_the_only_thing_that_is_missing(app: App) -> None:
    @app.task
    def here(x: str) -> None: ...

    other = here.using(queue="elsewhere-5")
    calls = [here.s("a"), other.s("b"), here.s("c"), other.s(urandom(1_100_000).hex())]
    with pytest.raises(PartlyEnqueued) as caught:
        app.enqueue_many(calls)
    assert [job_id is not None for job_id in caught.value.ids] == [True, True, True, False]


def test_a_task_of_another_app_is_refused(app: App, make_app: MakeApp) -> None:
    other = make_app()

    @other.task
    def strange() -> None: ...

    with pytest.raises(ValueError, match="strange is a task of another app"):
        app.enqueue_many([strange.s()])


def test_a_broker_that_is_not_there_is_told() -> None:
    app = App("tenure://127.0.0.1:1")

    @app.task
    def here() -> None: ...

    with using(Refusing()), pytest.raises(TenureError, match="nobody is there"):
        app.enqueue_many([here.s()])


class Refusing:
    """A source without a broker."""

    eager = False

    def client(self, app: App) -> Any:
        raise TenureError("nobody is there")

    async def aclient(self, app: App) -> Any:
        raise TenureError("nobody is there")
