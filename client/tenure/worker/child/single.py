"""A single: one job after another, in the main thread. An isolated one: one job, and the end.

The parent is told of each job before the next begins: if the process dies, the first job that it has not
been told of is the one that ran.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import TYPE_CHECKING, Any

from tenure.running.delivery import from_row
from tenure.running.failure import outcome_of
from tenure.running.hooks import call_hooks
from tenure.running.lifespan import opened
from tenure.running.outcome import Outcome
from tenure.running.plan import Prepared
from tenure.running.runner import Runner
from tenure.worker.child.jobs import Job, Jobs
from tenure.worker.child.stacks import all_stacks
from tenure.worker.pipe import CANCEL, EVENT, HELLO, RUN, SAVED, STACKS, STOP

if TYPE_CHECKING:
    from tenure.tasks.app import App
    from tenure.worker.child.imports import Files
    from tenure.worker.child.wire import Wire

_Event = tuple[str, dict[str, Any]]


class Single:
    """Runs jobs until the parent says stop, or after the first if there is only `one`."""

    def __init__(
        self, app: App, wire: Wire, jobs: Jobs, loop: asyncio.AbstractEventLoop, *, one: bool
    ) -> None:
        self._app = app
        self._wire = wire
        self._jobs = jobs
        self._loop = loop
        self._one = one
        self._waiting: deque[Job | _Event] = deque()
        self._stopping = False
        self._arrival: asyncio.Future[None] | None = None
        self._used_loop = False
        self._thread = threading.get_ident()
        self._runner: Runner
        self.is_ready = False

    def serve(self, hello: dict[str, Any], files: Files | None) -> None:
        """Open the lifespan, say hello, run what comes, and close the lifespan."""
        lifespan = Lifespan(self._app, self._loop)
        self._files = files
        self._runner = Runner(self._app, lifespan.open(), loop=self._loop)
        self._used_loop = self._app.lifespan_function is not None
        # Read while the loop runs: for an async job, and for what the lifespan has going.
        self._wire.read_on(self._loop, self._read_on_loop)
        self.is_ready = True
        self._wire.send([HELLO, hello])
        try:
            while not self._is_done():
                if not self._waiting and self._used_loop and asyncio.all_tasks(self._loop):
                    # What the app has going in the background goes on between its jobs.
                    self._loop.run_until_complete(self._serve_on_loop())
                if self._waiting:
                    self._take()
                elif not self._stopping:
                    self._wire.wait(self._has_work)
        finally:
            self._loop.remove_reader(self._wire.fileno())
            lifespan.close()
            self._wire.drain()

    def handle(self, message: list[Any]) -> None:
        """A message of the parent; in the main thread, or the watch's when that is busy."""
        kind = message[0]
        if kind == RUN:
            self._waiting.extend(self._jobs.add(key, row) for key, row in message[1])
        elif kind == CANCEL:
            self._jobs.cancel(message[1], message[2])
        elif kind == SAVED:
            self._jobs.saved(message[1], message[2], message[3])
        elif kind == STACKS:
            self._wire.send([STACKS, message[1], all_stacks(self._jobs.all(), self._loop)])
        elif kind == EVENT:
            self._waiting.append((message[1], message[2]))
        elif kind == STOP:
            self._stopping = True
        if threading.get_ident() != self._thread:
            self._loop.call_soon_threadsafe(self._arrived)

    def _is_done(self) -> bool:
        return self._stopping and not self._waiting

    def _has_work(self) -> bool:
        return bool(self._waiting) or self._stopping

    # -- in the main thread --------------------------------------------------------------

    def _take(self) -> None:
        """Run what waits longest; if it is for the loop, the loop goes on with what follows."""
        waiting = self._waiting.popleft()
        if not isinstance(waiting, Job):
            call_hooks(self._app, *waiting, self._loop.run_until_complete)
            return
        run = self._prepared(waiting)
        if run is None:
            return
        if run.plan.in_thread:
            try:
                outcome = self._runner.run_prepared_blocking(run, self._loop)
            except BaseException as error:  # KeyboardInterrupt: here only user code raises it
                outcome = outcome_of(error, None, run.plan.retry)
            self._used_loop = self._used_loop or run.plan.needs_bridge
            self._end(waiting, outcome)
        else:
            self._used_loop = True
            self._loop.run_until_complete(self._serve_on_loop((waiting, run)))

    def _prepared(self, job: Job) -> Prepared | None:
        if job.run is not None:
            return job.run
        run: Prepared | Outcome
        try:
            run = self._runner.prepare(from_row(job.row), job.port, job.control)
        except BaseException as error:
            run = outcome_of(error, None, None)
        if isinstance(run, Prepared):
            return job.begin(run)
        self._end(job, run)
        return None

    def _end(self, job: Job, outcome: Outcome) -> None:
        self._jobs.end(job, outcome)
        self._wire.flush()
        if self._one:
            self._stopping = True
        if self._files is not None:
            self._files.tell(self._wire)

    # -- on the loop -------------------------------------------------------------------------

    async def _serve_on_loop(self, first: tuple[Job, Prepared] | None = None) -> None:
        """Run async jobs, until there is something that must not run within a loop.

        To leave the loop and come back takes longer than a small job.
        """
        if first is not None:
            await self._run_on_loop(*first)
        while not self._is_done():
            if not self._waiting:
                self._arrival = self._loop.create_future()
                await self._arrival
                self._arrival = None
                continue
            job = self._waiting[0]
            if not isinstance(job, Job):
                return
            run = self._prepared(job)
            if run is not None:
                if run.plan.in_thread:
                    return
                await self._run_on_loop(job, run)
            self._waiting.popleft()

    async def _run_on_loop(self, job: Job, run: Prepared) -> None:
        # In a task of its own: it has its own context, and can be cancelled.
        try:
            outcome = await self._loop.create_task(self._guarded(run))
        except asyncio.CancelledError as error:  # user code has cancelled its own asyncio task
            outcome = outcome_of(error, None, run.plan.retry)
        self._end(job, outcome)

    async def _guarded(self, run: Prepared) -> Outcome:
        try:
            return await self._runner.run_prepared(run)
        except KeyboardInterrupt as error:  # it would end the loop, and the process with it
            return outcome_of(error, None, run.plan.retry)

    def _read_on_loop(self) -> None:
        self._wire.read()
        self._arrived()

    def _arrived(self) -> None:
        if self._arrival is not None and not self._arrival.done() and self._has_work():
            self._arrival.set_result(None)


class Lifespan:
    """The app's lifespan in an asyncio task of its own, on a loop that runs now and then.

    In one task, because what it opens may insist on being closed in the task that opened it.
    """

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._end = asyncio.Event()

    def open(self) -> Any:
        """Open it; what it yielded."""
        if self._app.lifespan_function is None:
            return None
        ready: asyncio.Future[Any] = self._loop.create_future()

        async def live() -> None:
            try:
                async with opened(self._app) as resources:
                    ready.set_result(resources)
                    await self._end.wait()
            except BaseException as error:
                if ready.done():
                    raise
                ready.set_exception(error)

        self._task = self._loop.create_task(live(), name="lifespan")
        return self._loop.run_until_complete(ready)

    def close(self) -> None:
        """Close it. Raises what it raises."""
        if self._task is not None:
            self._end.set()
            self._loop.run_until_complete(self._task)
