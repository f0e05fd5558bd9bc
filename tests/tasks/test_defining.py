"""A function becomes a task, or it is said at once why it cannot."""

from __future__ import annotations

import copy
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tenure import App, AsyncTask, Depends, ImportFailed, Retry, Task


@pytest.fixture
def app() -> App:
    return App("tenure://127.0.0.1:1")


def test_a_bare_task_has_the_name_and_words_of_its_function(app: App) -> None:
    @app.task
    def resize(width: int) -> int:
        """Make it smaller."""
        return width

    assert isinstance(resize, Task)
    assert resize.name == "resize"
    assert resize.__doc__ == "Make it smaller."
    assert not resize.is_async
    assert resize.options.queue == "default"
    assert dict(app.tasks) == {"resize": resize}


def test_an_async_def_becomes_an_async_task(app: App) -> None:
    @app.task(executor="async")
    async def fetch(url: str) -> bytes:
        return b""

    assert isinstance(fetch, AsyncTask)
    assert fetch.is_async
    assert fetch.options.executor == "async"


def test_options_are_read_once(app: App) -> None:
    retry = Retry(5, on=OSError)

    @app.task(
        name="mail.send", queue="mail", priority="high", retry=retry, timeout="30s",
        soft_timeout="20s", lease="1m", unique=True, expires="1d", result_ttl="1h",
        executor="process", headers={"team": "a"},
    )  # fmt: skip
    def send(to: str) -> None: ...

    options = send.options
    assert send.name == "mail.send"
    assert options.queue == "mail"
    assert options.priority == "high"
    assert options.retry is retry
    assert (options.timeout_ms, options.soft_timeout_ms) == (30_000, 20_000)
    assert (options.lease_ms, options.result_ttl_ms) == (60_000, 3_600_000)
    assert options.unique is True
    assert options.executor == "process"
    assert send.job_options == {
        "priority": "high", "retry": retry, "lease": 60.0, "expires": "1d",
        "retention": 3600.0, "headers": {"team": "a"},
    }  # fmt: skip


def test_the_app_says_what_its_tasks_do_not() -> None:
    retry = Retry.fixed("1s")
    app = App(queue="shop", retry=retry, result_ttl="1h", timeout="1m", lease="2m")

    @app.task
    def one() -> None: ...

    @app.task(queue="other", timeout="5s", result_ttl=0)
    def two() -> None: ...

    assert one.options.queue == "shop"
    assert one.options.retry is retry
    assert (one.options.timeout_ms, one.options.lease_ms) == (60_000, 120_000)
    assert one.options.result_ttl_ms == 3_600_000
    assert two.options.queue == "other"
    assert (two.options.timeout_ms, two.options.result_ttl_ms) == (5_000, 0)


def test_two_tasks_cannot_have_one_name(app: App) -> None:
    @app.task
    def work() -> None: ...

    with pytest.raises(
        ValueError, match=r"the app has a task 'work' already: .*; give one a name="
    ):
        app.task(work.function)

    app.task(name="work2")(work.function)
    assert list(app.tasks) == ["work", "work2"]


def generator() -> Iterator[int]:
    yield 1


async def agenerator() -> Any:
    yield 1


async def waits() -> None: ...


def blocks() -> None: ...


@pytest.mark.parametrize(
    ("function", "options", "told"),
    [
        (5, {}, "a task must be a function, not 5"),
        (int, {}, "a task must be a function, not <class 'int'>"),
        (generator, {}, "generator is a generator; a task returns one result"),
        (agenerator, {}, "agenerator is a generator"),
        (lambda: None, {}, "has no name of its own; give the task a name="),
        (blocks, {"name": ""}, "name must have 1 to 255 bytes"),
        (blocks, {"name": "a" * 256}, "name must have 1 to 255 bytes"),
        (blocks, {"name": 5}, "name must be a text, not int"),
        (waits, {"executor": "thread"}, "an async def runs in the loop, not in a thread"),
        (blocks, {"executor": "async"}, "a def would block the loop; make it an async def"),
        (blocks, {"executor": "gpu"}, "executor must be one of async, thread, process, isolated"),
        (blocks, {"queue": "Not a queue"}, "task blocks: queue: 'Not a queue' cannot name a queue"),
        (blocks, {"timeout": "soon"}, "task blocks: timeout 'soon' is not a duration"),
        (blocks, {"timeout": 0}, "timeout must be more than nothing"),
        (blocks, {"timeout": 5, "soft_timeout": 5}, "soft_timeout must be shorter than timeout"),
        (blocks, {"lease": "1ms"}, "lease must be from 100ms to 12h"),
        (blocks, {"priority": 300}, "priority must be 0 to 255"),
        (blocks, {"max_attempts": 0}, "max_attempts must be a whole number from 1"),
        (blocks, {"retry": 5}, "retry must be a Retry, not int"),
        (blocks, {"unique": 5}, "unique must be a text or True, not int"),
        (blocks, {"headers": ["a"]}, "headers must be a mapping, not list"),
        (blocks, {"headers": {"tenure.x": 1}}, "names that begin with 'tenure.' are reserved"),
        (blocks, {"colour": "red"}, "'colour' is not an option of a task; there are name, "),
    ],
)
def test_what_cannot_be_a_task_is_refused_at_once(
    app: App, function: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        app.task(**options)(function)

    assert told in str(caught.value)
    assert not app.tasks


def test_a_task_is_not_made_a_task_again(app: App) -> None:
    @app.task
    def work() -> None: ...

    with pytest.raises(TypeError, match="work is a task already"):
        app.task(work)


def test_an_injected_parameter_must_be_givable_by_name(app: App) -> None:
    def by_place(a: int, b: int = Depends(int), /) -> None: ...

    def before_rest(a: int, b: int = Depends(int), *rest: int) -> None: ...

    def behind_rest(a: int, *rest: int, b: int = Depends(int)) -> None: ...

    for function in (by_place, before_rest):
        with pytest.raises(TypeError, match="'b' is filled in by the worker, by its name"):
            app.task(function)
    assert list(app.task(behind_rest).signature.dependencies) == ["b"]


def test_a_method_is_not_a_task(app: App) -> None:
    class Mailer:
        def send(self, to: str) -> None: ...

    with pytest.raises(TypeError, match=r"'self': a task is a function .* current_job\(\) tells"):
        app.task(Mailer.send)


def test_attributes_of_a_function_do_not_hide_those_of_the_task(app: App) -> None:
    def work() -> None: ...

    work.enqueue = work.name = "mine"  # type: ignore[attr-defined]

    task = app.task(work)
    assert callable(task.enqueue)
    assert task.name == "work"


def test_a_callable_object_that_gives_a_coroutine_is_an_async_task(app: App) -> None:
    class Fetch:
        async def __call__(self, url: str) -> bytes:
            return b""

    task = app.task(name="fetch")(Fetch())
    assert isinstance(task, AsyncTask)
    assert task.s("a").payload == {"url": "a"}


shop_app = App("tenure://127.0.0.1:1")


@shop_app.task
def pickled(x: int) -> int:
    return x


def test_a_task_is_pickled_by_its_name() -> None:
    assert pickle.loads(pickle.dumps(pickled)) is pickled
    assert copy.deepcopy([pickled]) == [pickled]


def test_depends_needs_a_function() -> None:
    with pytest.raises(TypeError, match="Depends needs a function, not int"):
        Depends(5)  # type: ignore[call-overload]
    assert repr(Depends(blocks)) == "Depends(blocks)"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"url": "http://x"}, "is not a broker's URL"),
        ({"codec": "raw"}, "codec must be msgpack or json"),
        ({"codec": "xml"}, "codec must be one of"),
        ({"imports": "shop"}, "imports must be names of modules, not one text"),
        ({"queue": "A"}, "cannot name a queue"),
        ({"lease": 0}, "lease must be from"),
    ],
)
def test_an_impossible_app_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises((TypeError, ValueError), match=told):
        App(**options)


def test_the_modules_of_an_app_are_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tasks_that_load.py").write_text("loaded = True\n")
    (tmp_path / "tasks_that_fail.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)

    App(imports=["tasks_that_load"]).load()
    assert sys.modules.pop("tasks_that_load").loaded

    with pytest.raises(ImportFailed, match=r"'tasks_that_fail' .*ZeroDivisionError") as caught:
        App(imports=["tasks_that_fail"]).load()
    assert caught.value.name == "tasks_that_fail"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(ImportFailed, match="'tasks_that_are_nowhere'"):
        App(imports=["tasks_that_are_nowhere"]).load()


def test_what_surrounds_jobs_is_kept_in_its_order(app: App) -> None:
    @app.middleware
    async def first(job: Any, call_next: Any) -> Any: ...

    @app.middleware
    def second(job: Any, call_next: Any) -> Any: ...

    @app.lifespan
    def resources() -> Iterator[int]:
        yield 1

    @app.on("job.dead")
    def page(event: Any) -> None: ...

    assert app.middlewares == [first, second]
    assert app.lifespan_function is resources
    assert app.hooks == {"job.dead": [page]}
    with pytest.raises(ValueError, match="has a lifespan already"):
        app.lifespan(resources)
    with pytest.raises(ValueError, match=r"'job.deed' is no kind of event; there are job.started"):
        app.on("job.deed")
