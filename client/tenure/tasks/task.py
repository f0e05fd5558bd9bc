"""`Task`: a function that can be called at once, or enqueued as a job."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import datetime
from functools import update_wrapper
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, Self, TypeVar, Unpack

from tenure.options import Headers, Moment, Priority
from tenure.retry import Retry
from tenure.tasks import sending
from tenure.tasks.call import Call
from tenure.tasks.handle import AsyncJobHandle, JobHandle
from tenure.tasks.options import CallOptions, TaskOptions, changed, job_options
from tenure.tasks.signature import Signature
from tenure.tasks.unique import unique_maker
from tenure_protocol.durations import Duration

if TYPE_CHECKING:
    from tenure.tasks.app import App

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Task(Generic[P, R_co]):
    """A function of an app that runs as a job; called itself, it runs here and now.

    - `name`: what jobs say; `function`: what runs; `is_async`: whether it is an `async def`.
    - `options`: what holds for its jobs; `signature`: what its arguments and result are.
    """

    def __init__(
        self,
        app: App,
        function: Callable[P, Any],
        name: str,
        options: TaskOptions,
        own: Task[P, R_co] | None = None,
    ) -> None:
        # Without what somebody put into the function's __dict__: it might hide our methods.
        update_wrapper(self, function, updated=())
        self.app = app
        self.function = function
        self.name = name
        self.options = options
        self.is_async = is_async(function)
        self.signature: Signature = Signature(name, function) if own is None else own.signature
        self.own: Task[P, R_co] = self if own is None else own
        self.make_unique = unique_maker(options.unique, self.signature)
        self.job_options = job_options(options, self.own.options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Run the function here. Parameters that a worker fills in must be given."""
        self.signature.check_given(args, kwargs)
        result: R_co = self.function(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def __reduce__(self) -> str:
        # Pickled by its name, as functions are: a pool of processes may be given a task.
        name: str = getattr(self, "__qualname__", self.name)
        return name

    def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """Store a job that will run the function with these arguments.

        Raises `ArgumentError` when they do not fit, and what `Client.enqueue` raises.
        """
        return sending.enqueue(self.s(*args, **kwargs))

    async def aenqueue(self, *args: P.args, **kwargs: P.kwargs) -> AsyncJobHandle[R_co]:
        """`enqueue` for asyncio."""
        return await sending.aenqueue(self.s(*args, **kwargs))

    def s(self, *args: P.args, **kwargs: P.kwargs) -> Call[R_co]:
        """The call with its arguments checked, for `app.enqueue_many`. Raises `ArgumentError`."""
        payload = self.signature.pack(args, kwargs)
        make = self.make_unique
        if make is None:
            return Call(self, payload)
        return Call(self, payload, make(args, kwargs, payload))

    def using(
        self,
        *,
        queue: str | None = None,
        delay: Duration | None = None,
        run_at: Moment | None = None,
        priority: Priority | None = None,
        headers: Headers | None = None,
        unique: str | bool | None = None,
        expires: Duration | datetime | None = None,
        retry: Retry | None = None,
        max_attempts: int | None = None,
        timeout: Duration | None = None,
        soft_timeout: Duration | None = None,
        lease: Duration | None = None,
        result_ttl: Duration | None = None,
    ) -> Self:
        """The same task with other options; what is left out stays as it is.

        - `delay` or `run_at`: not before then (a `datetime` needs a time zone).
        - `headers`: added to those of the task; `retry`: without `on` and `never_on`, which a
          worker takes from the task.
        - `unique`: a template such as "invoice-{number}", or True: from task and arguments;
          False takes the name away.
        - `timeout`, `soft_timeout`: the limits of one attempt; `result_ttl`: how long the
          result can be read.
        """
        given: dict[str, Any] = {
            "queue": queue, "delay": delay, "run_at": run_at, "priority": priority,
            "headers": headers, "unique": unique, "expires": expires, "retry": retry,
            "max_attempts": max_attempts, "timeout": timeout, "soft_timeout": soft_timeout,
            "lease": lease, "result_ttl": result_ttl,
        }  # fmt: skip
        if retry is not None and (retry.on or retry.never_on):
            raise ValueError("retry: which errors are retried is for the task to say, not a call")
        options = changed(self.options, given)
        return type(self)(self.app, self.function, self.name, options, self.own)

    # -- the words of Celery --------------------------------------------------------------

    def delay(self, *args: P.args, **kwargs: P.kwargs) -> JobHandle[R_co]:
        """The same as `enqueue`."""
        return sending.enqueue(self.s(*args, **kwargs))

    def apply_async(
        self,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        *,
        countdown: Duration | None = None,
        eta: Moment | None = None,
        **options: Unpack[CallOptions],
    ) -> JobHandle[R_co]:
        """`using(...).enqueue(...)` in one: `countdown` is the delay, `eta` the moment."""
        return sending.enqueue(sending.celery_call(self, args, kwargs, countdown, eta, options))


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling `function` gives a coroutine."""
    return iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__)


class AsyncTask(Task[P, R_co]):
    """A task that is an `async def`: called itself, it gives a coroutine.

    The only class here that inherits: type checkers must see that a call is to be awaited.
    """

    def __call__(  # type: ignore[override]
        self, *args: P.args, **kwargs: P.kwargs
    ) -> Coroutine[Any, Any, R_co]:
        """Run the function here: the coroutine is to be awaited."""
        self.signature.check_given(args, kwargs)
        result: Coroutine[Any, Any, R_co] = self.function(*args, **kwargs)
        return result
