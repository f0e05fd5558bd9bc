"""`App`: the tasks of a program, its connections, and what surrounds its jobs."""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, overload

from tenure.address import addresses_of
from tenure.codecs import CodecName, codec_number
from tenure.errors import ImportFailed
from tenure.options import Headers, Priority
from tenure.retry import Retry
from tenure.settings import compress_over_bytes
from tenure.tasks import connections, sending
from tenure.tasks.call import Call
from tenure.tasks.handle import AsyncJobHandle, JobHandle
from tenure.tasks.making import make_task
from tenure.tasks.options import Executor, TaskOptions, changed
from tenure.tasks.task import AsyncTask, Task
from tenure_protocol.durations import Duration

if TYPE_CHECKING:
    from tenure.aio import AsyncClient
    from tenure.client import Client

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

HOOK_KINDS = (
    "job.started",
    "job.succeeded",
    "job.failed",
    "job.retrying",
    "job.dead",
    "job.cancelled",
    "job.released",
    "job.lost",
)
"""What `App.on` can be told of."""


class TaskDecorator(Protocol):
    """What `app.task(...)` with options gives: it makes the function below it a task."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class App:
    """The tasks of a program, and the way to the broker.

    - `url`: `tenure://host:port`, several hosts with commas; else TENURE_URL, else this machine.
    - `name`: what the broker shows for this program.
    - `queue`: where tasks go that say nothing else.
    - `codec`: how arguments and results are encoded: "msgpack" or "json".
    - `compress_over`: compress those of more bytes with zstd; True: over 64 KiB. Whoever reads
      them needs `tenure[zstd]`, too: workers, and those who ask for results.
    - `imports`: modules with tasks, imported by the worker.
    - `retry`, `result_ttl`, `timeout`, `lease`: for tasks that say nothing else.

    It connects at its first use, from any thread or event loop, also after a fork.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str | None = None,
        queue: str = "default",
        codec: CodecName = "msgpack",
        compress_over: int | bool = False,
        imports: Sequence[str] = (),
        retry: Retry | None = None,
        result_ttl: Duration | None = None,
        timeout: Duration | None = None,
        lease: Duration | None = None,
    ) -> None:
        if url is not None:
            addresses_of(url)
        if codec_number(codec) == codec_number("raw"):
            raise ValueError("codec must be msgpack or json: the arguments of tasks are not bytes")
        if isinstance(imports, str):
            raise TypeError("imports must be names of modules, not one text")
        self.url = url
        self.name = name
        self.codec: CodecName = codec
        self.compress_over_bytes = compress_over_bytes(compress_over)
        self._compress_over = compress_over
        self.imports = tuple(imports)
        self.defaults = changed(
            TaskOptions(),
            {
                "queue": queue,
                "retry": retry,
                "result_ttl": result_ttl,
                "timeout": timeout,
                "lease": lease,
            },
        )
        self.eager = False
        self.middlewares: list[Callable[..., Any]] = []
        self.hooks: dict[str, list[Callable[..., Any]]] = {}
        self.lifespan_function: Callable[..., Any] | None = None
        self._tasks: dict[str, Task[..., Any]] = {}
        self._connections = connections.Connections(url, name, codec, self._compress_over)

    def __repr__(self) -> str:
        return f"<App {self.name or self.url or 'of TENURE_URL'}, {len(self._tasks)} tasks>"

    # -- tasks ------------------------------------------------------------------------------

    @property
    def tasks(self) -> Mapping[str, Task[..., Any]]:
        """The tasks by their names."""
        return MappingProxyType(self._tasks)

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> AsyncTask[P, R]: ...
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        *,
        name: str | None = None,
        queue: str | None = None,
        priority: Priority | None = None,
        retry: Retry | None = None,
        max_attempts: int | None = None,
        timeout: Duration | None = None,
        soft_timeout: Duration | None = None,
        lease: Duration | None = None,
        unique: str | bool | None = None,
        expires: Duration | datetime | None = None,
        result_ttl: Duration | None = None,
        executor: Executor | None = None,
        headers: Headers | None = None,
    ) -> TaskDecorator: ...
    def task(self, function: Callable[..., Any] | None = None, **given: Any) -> Any:
        """Make a function a task, bare or with options.

        - `name`: what jobs say; else the name of the function.
        - `queue`, `priority`, `retry`, `max_attempts`, `lease`, `expires`: as of `Client.enqueue`.
        - `timeout`: an attempt that takes longer is ended and counts as failed; `soft_timeout`:
          before that, `SoftTimeout` is raised inside the task.
        - `unique`: a template such as "invoice-{number}", filled from the arguments, or True for
          a name made from all of them: while such a job is unfinished, none is added.
        - `result_ttl`: how long the result can be read; without it only who waits gets it.
        - `executor`: "async", "thread", "process", or "isolated" for a fresh process each time.
        """

        def make(function: Callable[..., Any]) -> Task[..., Any]:
            task = make_task(self, function, given)
            self._tasks[task.name] = task
            return task

        return make if function is None else make(function)

    def load(self) -> None:
        """Import the modules of `imports`. Raises `ImportFailed`, naming the module."""
        for module in self.imports:
            try:
                import_module(module)
            except Exception as error:
                raise ImportFailed(
                    f"module {module!r} of the app's imports cannot be imported:"
                    f" {type(error).__name__}: {error}",
                    name=module,
                ) from error

    # -- what surrounds jobs ------------------------------------------------------------------

    def middleware(self, function: F) -> F:
        """Run `function(job, call_next)` around every job; the first one added is outermost."""
        self.middlewares.append(function)
        return function

    def lifespan(self, function: F) -> F:
        """Run this generator once in each worker process; what it yields is `resources`."""
        if self.lifespan_function is not None:
            raise ValueError("the app has a lifespan already")
        self.lifespan_function = function
        return function

    def on(self, kind: str) -> Callable[[F], F]:
        """Call the function below with each event of this kind, such as "job.dead"."""
        if kind not in HOOK_KINDS:
            raise ValueError(f"{kind!r} is no kind of event; there are {', '.join(HOOK_KINDS)}")

        def add(function: F) -> F:
            self.hooks.setdefault(kind, []).append(function)
            return function

        return add

    # -- connections --------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """The client that `enqueue` uses; made at its first use, shared by all threads."""
        source = connections.source()
        return self._connections.client() if source is None else source.client(self)

    async def aclient(self) -> AsyncClient:
        """The client that `aenqueue` uses: one for each running event loop."""
        source = connections.source()
        return self._connections.aclient() if source is None else await source.aclient(self)

    def connect_to(self, url: str) -> None:
        """Use this broker from now on, whatever the app was made with. Raises `ValueError`."""
        addresses_of(url)
        self.url = url
        self._connections.close()
        self._connections = connections.Connections(url, self.name, self.codec, self._compress_over)

    def close(self) -> None:
        """Close the connection for programs that block. The next use opens another."""
        self._connections.close()

    async def aclose(self) -> None:
        """Close the connection of this event loop. The next use opens another."""
        await self._connections.aclose()

    # -- jobs -----------------------------------------------------------------------------------

    def enqueue_many(self, calls: Iterable[Call[R]]) -> list[JobHandle[R]]:
        """Store the jobs of many calls, as many as there are; the handles are in their order.

        They leave in one request for each queue and chunk, several in flight; a chunk is stored
        whole or not at all. Raises the first error if nothing was stored, else
        `PartlyEnqueued` with the ids so far.
        """
        return sending.enqueue_many(self, calls)

    async def aenqueue_many(
        self, calls: Iterable[Call[R]] | AsyncIterable[Call[R]]
    ) -> list[AsyncJobHandle[R]]:
        """`enqueue_many` for asyncio."""
        return await sending.aenqueue_many(self, calls)

    def job(self, job_id: str) -> JobHandle[Any]:
        """The handle of a job by its id."""
        return JobHandle(self, job_id, None)

    def ajob(self, job_id: str) -> AsyncJobHandle[Any]:
        """`job` for asyncio."""
        return AsyncJobHandle(self, job_id, None)

    @property
    def is_eager(self) -> bool:
        """Whether `enqueue` runs the task at once: `eager` of the app, or of what tests put in."""
        source = connections.source()
        return self.eager or (source is not None and source.eager)

    @contextmanager
    def eager_mode(self) -> Iterator[None]:
        """Within the block `enqueue` runs the task at once and gives a finished handle."""
        before, self.eager = self.eager, True
        try:
            yield
        finally:
            self.eager = before
