"""Calls of tasks as programs write them: what a type checker must accept, and what it must not.

Every line with an ignore comment is wrong on purpose. This file is checked as it is with the
rest, where an ignore that hides nothing is an error; and without its ignores by a test, which
finds an error in each of those lines and nowhere else. Nothing here ever runs.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, assert_type

from tenure import (
    App,
    AsyncJobHandle,
    AsyncTask,
    Call,
    CurrentJob,
    Depends,
    JobHandle,
    Permanent,
    Retry,
    RetryLater,
    Snooze,
    SoftTimeout,
    Task,
    TaskFailed,
    current_job,
)

app = App("tenure://localhost:7733", queue="shop", retry=Retry(5, on=(OSError,)))


@dataclass
class Receipt:
    id: str


class Smtp: ...


def get_smtp() -> Iterator[Smtp]:
    yield Smtp()


async def get_rate(resources: dict[str, float]) -> float:
    return resources["rate"]


async def get_stream() -> AsyncIterator[bytes]:
    yield b""


def get_name(smtp: Smtp = Depends(get_smtp)) -> str:
    return "x"


assert_type(Depends(get_smtp), Smtp)
assert_type(Depends(get_rate), float)
assert_type(Depends(get_stream), bytes)
assert_type(Depends(get_name), str)


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(queue="mail", priority="high", timeout="30s", unique="{to}", retry=Retry.fixed("5s"))
async def send_email(
    to: str, *, template: str = "welcome", smtp: Smtp = Depends(get_smtp)
) -> Receipt:
    job = current_job()
    assert_type(job, CurrentJob)
    return Receipt(job.id)


@app.task(executor="process")
def resize(paths: list[str], *sizes: int, **names: str) -> None: ...


@app.middleware
async def timed(job: CurrentJob, call_next: Callable[[CurrentJob], Awaitable[Any]]) -> Any:
    return await call_next(job)


@app.lifespan
async def resources() -> AsyncIterator[dict[str, float]]:
    yield {"rate": 1.0}


@app.on("job.dead")
def page(event: dict[str, Any]) -> None: ...


def any_task(task: Task[..., object]) -> None:
    assert_type(task.enqueue(1, 2, x=3), JobHandle[object])


def any_async_task(task: AsyncTask[..., Receipt]) -> None:
    assert_type(task.enqueue(1), JobHandle[Receipt])


def good() -> None:
    assert_type(add(1), int)
    assert_type(add.enqueue(1, y=2), JobHandle[int])
    assert_type(add.enqueue(1).result(timeout="10s"), int)
    assert_type(add.delay(1), JobHandle[int])
    assert_type(add.apply_async((1,), countdown=5, priority=3), JobHandle[int])
    assert_type(add.s(1), Call[int])
    assert_type(add.using(queue="bulk", delay="5m", unique=True).enqueue(1), JobHandle[int])
    assert_type(send_email.enqueue("a@b.c", template="x"), JobHandle[Receipt])
    assert_type(send_email.using(headers={"a": 1}).enqueue("a"), JobHandle[Receipt])
    assert_type(app.enqueue_many(add.s(i) for i in range(3)), list[JobHandle[int]])
    assert_type(app.job("x"), JobHandle[Any])
    resize.enqueue(["a"], 1, 2, small="s")
    handle = add.enqueue(1)
    assert_type(handle.id, str)
    assert_type(handle.status(), str)
    assert_type(handle.cancel(), str)
    any_task(add)
    any_task(send_email)
    any_async_task(send_email)


async def good_with_asyncio() -> None:
    assert_type(await send_email("a@b.c"), Receipt)
    assert_type(await send_email.using(delay=5)("a@b.c"), Receipt)
    assert_type(await send_email.aenqueue("a@b.c"), AsyncJobHandle[Receipt])
    assert_type(await (await send_email.aenqueue("a@b.c")).result(), Receipt)
    assert_type(await add.aenqueue(1), AsyncJobHandle[int])
    assert_type(await app.aenqueue_many([add.s(1)]), list[AsyncJobHandle[int]])
    try:
        raise RetryLater("5m")
    except (Permanent, Snooze, SoftTimeout, TaskFailed):
        pass


def wrong() -> None:
    add.enqueue("1")  # type: ignore[arg-type]
    add.enqueue()  # type: ignore[call-arg]
    add.enqueue(1, 2, 3)  # type: ignore[call-arg]
    add.enqueue(1, z=2)  # type: ignore[call-arg]
    add.delay("1")  # type: ignore[arg-type]
    add.s(x=1.5)  # type: ignore[arg-type]
    add.using(queue="bulk").enqueue("1")  # type: ignore[arg-type]
    add.using(color="red")  # type: ignore[call-arg]
    add.using(queue=5)  # type: ignore[arg-type]
    add("1")  # type: ignore[arg-type]
    add.apply_async((1,), link=add)  # type: ignore[call-arg]
    send_email.enqueue("a@b.c", "x")  # type: ignore[call-arg]
    send_email.enqueue("a@b.c", template=5)  # type: ignore[arg-type]
    send_email.enqueue(5)  # type: ignore[arg-type]
    resize.enqueue(["a"], "1")  # type: ignore[arg-type]
    number: str = add.enqueue(1).result()  # type: ignore[assignment]
    number.upper()
    app.task(queue=5)(add.function)  # type: ignore[call-overload]
    any_async_task(add)  # type: ignore[arg-type]
    app.task(executor="gpu")(add.function)  # type: ignore[call-overload]
    Retry(on=5)  # type: ignore[arg-type]


async def wrong_with_asyncio() -> None:
    await add.aenqueue("1")  # type: ignore[arg-type]
    await send_email(5)  # type: ignore[arg-type]
    receipt: int = await send_email("a@b.c")  # type: ignore[assignment]
    print(receipt)
