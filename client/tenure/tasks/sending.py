"""Calls on their way to the broker: one, or as many as there are."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from tenure.codecs import codec_number, encode_value
from tenure.errors import ArgumentError, PartlyEnqueued, TenureError
from tenure.jobs import NewJob
from tenure.options import Moment
from tenure.tasks.call import Call
from tenure.tasks.handle import AsyncJobHandle, JobHandle
from tenure.tasks.options import CallOptions
from tenure_protocol.durations import Duration

if TYPE_CHECKING:
    from tenure.tasks.app import App
    from tenure.tasks.task import Task

R = TypeVar("R")

LOOKED_AT = 1_000
"""So many calls are looked at to see whether all go to one queue. Then they can stream."""

SORTED_AT_ONCE = 20_000
"""So many calls to several queues are sorted by their queues at a time."""

_BAD_JOB = "jobs["


def enqueue(call: Call[R]) -> JobHandle[R]:
    """Store the job of a call."""
    task = call.task
    app = task.app
    if app.is_eager:
        from tenure.tasks import eager

        return eager.run(call)
    try:
        job_id = app.client.enqueue(
            task.options.queue, task.name, call.payload, unique=call.unique, **task.job_options
        )
    except (TypeError, ValueError) as error:
        raise blamed(call, error) from error
    return JobHandle(app, job_id, task, existing=job_id.existing)


async def aenqueue(call: Call[R]) -> AsyncJobHandle[R]:
    """Store the job of a call, from asyncio."""
    task = call.task
    app = task.app
    if app.is_eager:
        from tenure.tasks import eager

        return await eager.arun(call)
    client = await app.aclient()
    try:
        job_id = await client.enqueue(
            task.options.queue, task.name, call.payload, unique=call.unique, **task.job_options
        )
    except (TypeError, ValueError) as error:
        raise blamed(call, error) from error
    return AsyncJobHandle(app, job_id, task, existing=job_id.existing)


def blamed(call: Call[Any], error: Exception) -> Exception:
    """An error that names the argument the codec cannot carry; `error` if it is none of them."""
    codec = codec_number(call.task.app.codec)
    for name, value in call.payload.items():
        try:
            encode_value(value, codec, None, f"argument {name!r}")
        except (TypeError, ValueError) as reason:
            return ArgumentError(f"{call.task.name}(): {reason}")
    return error


def celery_call(
    task: Task[..., R],
    args: Iterable[Any],
    kwargs: Mapping[str, Any] | None,
    countdown: Duration | None,
    eta: Moment | None,
    options: Mapping[str, Any],
) -> Call[R]:
    """The call that `apply_async` means. Raises `TypeError` for words that are not known here."""
    given = dict(options)
    for word, value, name in (("countdown", countdown, "delay"), ("eta", eta, "run_at")):
        if value is not None:
            if given.get(name) is not None:
                raise ValueError(f"give {word} or {name}, not both")
            given[name] = value
    known = CallOptions.__annotations__
    for name in given:
        if name not in known:
            raise TypeError(
                f"apply_async: {name!r} is not an option; there are countdown, eta,"
                f" {', '.join(known)}"
            )
    chosen = task.using(**given) if given else task
    return chosen.s(*args, **(kwargs or {}))


# -- many -------------------------------------------------------------------------------------


class Run(NamedTuple):
    """Jobs for one queue. Without `places` they stream, and their places are the next ones.

    The broker reads `options`, those of all the jobs, once for a chunk: measured, jobs that each
    say theirs take three times as long.
    """

    queue: str
    places: list[int] | None
    jobs: Iterator[NewJob]
    options: dict[str, Any]


class Batch:
    """The calls of one `enqueue_many`: sorted by queue, and what became of each, in order."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._last: Call[Any] | None = None
        self.tasks: list[Task[..., Any]] = []
        self.ids: list[str | None] = []

    def runs(self, calls: Iterable[Call[Any]]) -> Iterator[Run]:
        """The calls as runs, to be enqueued one after the other."""
        left = iter(calls)
        while first := list(islice(left, LOOKED_AT)):
            task = _task(first[0])
            if all(_goes_with(task, call) for call in first):
                stream = _Stream(task, chain(first, left))
                yield Run(task.options.queue, None, self._jobs(stream), task.job_options)
                left = stream.rest()
                continue
            first += islice(left, SORTED_AT_ONCE - len(first))
            yield from self._sorted(first)

    def _sorted(self, calls: list[Call[Any]]) -> Iterator[Run]:
        start = len(self.ids)
        queues: dict[str, list[int]] = {}
        for place, call in enumerate(calls):
            queues.setdefault(_task(call).options.queue, []).append(place)
            self._take(call)
        self.ids += [None] * len(calls)
        for queue, places in queues.items():
            task = calls[places[0]].task
            alike = all(_goes_with(task, calls[place]) for place in places)
            jobs = (self._job(calls[place], alike) for place in places)
            options = task.job_options if alike else {}
            yield Run(queue, [start + place for place in places], jobs, options)

    def _jobs(self, calls: Iterable[Call[Any]]) -> Iterator[NewJob]:
        for call in calls:
            self._take(call)
            yield self._job(call, True)

    def _take(self, call: Call[Any]) -> None:
        task = call.task
        if task.app is not self._app:
            raise ValueError(f"{task.name} is a task of another app, which must enqueue it")
        self.tasks.append(task)

    def _job(self, call: Call[Any], alike: bool) -> NewJob:
        """The job of a call; `alike`: its options are said once for all jobs of the run."""
        self._last = call
        task = call.task
        options = {} if alike else task.job_options
        if call.unique is not None:
            return NewJob(task.name, call.payload, unique=call.unique, **options)
        if options:
            return NewJob(task.name, call.payload, **options)
        return NewJob(task.name, call.payload)

    def fill(self, places: list[int] | None, ids: Iterable[str | None]) -> None:
        """The ids of a run."""
        if places is None:
            self.ids += ids
        else:
            for place, job_id in zip(places, ids, strict=False):
                self.ids[place] = job_id

    def failure(self, error: Exception, places: list[int] | None) -> Exception:
        """What to raise when a run failed."""
        cause: BaseException = error
        if isinstance(error, PartlyEnqueued):
            self.fill(places, error.ids)
            cause = error.__cause__ or error
        if (
            self._last is not None
            and isinstance(cause, (TypeError, ValueError))
            and not isinstance(cause, TenureError)
            and str(cause).startswith(_BAD_JOB)
        ):
            cause = blamed(self._last, cause)
        stored = sum(job_id is not None for job_id in self.ids)
        if not stored and isinstance(cause, Exception):
            return cause
        failure = PartlyEnqueued(
            f"{stored} of {len(self.tasks)} jobs were stored, then: {cause}", self.ids
        )
        failure.__cause__ = cause
        return failure


class _Stream:
    """Calls as long as they go to the queue of one task, with its options."""

    def __init__(self, task: Task[..., Any], calls: Iterator[Call[Any]]) -> None:
        self._task = task
        self._calls = calls
        self._other: list[Call[Any]] = []

    def __iter__(self) -> Iterator[Call[Any]]:
        task = self._task
        for call in self._calls:
            if not _goes_with(task, call):
                self._other.append(call)
                return
            yield call

    def rest(self) -> Iterator[Call[Any]]:
        """What comes after them."""
        return chain(self._other, self._calls)


def _task(call: Call[Any]) -> Task[..., Any]:
    if not isinstance(call, Call):
        raise TypeError(f"calls must be made with task.s(...), not {call!r:.80}")
    return call.task


def _goes_with(task: Task[..., Any], call: Call[Any]) -> bool:
    other = _task(call)
    return other is task or (
        other.options.queue == task.options.queue and other.job_options == task.job_options
    )


def enqueue_many(app: App, calls: Iterable[Call[R]]) -> list[JobHandle[R]]:
    """Store the jobs of many calls; the handles are in their order."""
    if app.is_eager:
        return [enqueue(call) for call in calls]
    batch, places = Batch(app), None
    try:
        for queue, places, jobs, options in batch.runs(calls):
            batch.fill(places, app.client.enqueue_many(queue, jobs, **options))
    except Exception as error:
        raise batch.failure(error, places) from error.__cause__
    return [
        JobHandle(app, job_id or "", task, existing=getattr(job_id, "existing", False))
        for job_id, task in zip(batch.ids, batch.tasks, strict=True)
    ]


async def aenqueue_many(
    app: App, calls: Iterable[Call[R]] | AsyncIterable[Call[R]]
) -> list[AsyncJobHandle[R]]:
    """Store the jobs of many calls, from asyncio; the handles are in their order."""
    if app.is_eager:
        return [await aenqueue(call) async for part in _parts(calls) for call in part]
    client = await app.aclient()
    batch, places = Batch(app), None
    try:
        async for part in _parts(calls):
            for queue, places, jobs, options in batch.runs(part):
                batch.fill(places, await client.enqueue_many(queue, jobs, **options))
    except Exception as error:
        raise batch.failure(error, places) from error.__cause__
    return [
        AsyncJobHandle(app, job_id or "", task, existing=getattr(job_id, "existing", False))
        for job_id, task in zip(batch.ids, batch.tasks, strict=True)
    ]


async def _parts(
    calls: Iterable[Call[R]] | AsyncIterable[Call[R]],
) -> AsyncIterator[Iterable[Call[R]]]:
    """The calls in parts that can be iterated over without waiting."""
    if not isinstance(calls, AsyncIterable):
        yield calls
        return
    part: list[Call[R]] = []
    async for call in calls:
        part.append(call)
        if len(part) >= SORTED_AT_ONCE:
            yield part
            part = []
    if part:
        yield part
