"""A host: many jobs at a time, async ones on the event loop, `def` ones in threads."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from tenure.running.delivery import from_row
from tenure.running.failure import outcome_of
from tenure.running.hooks import run_hooks
from tenure.running.lifespan import opened
from tenure.running.outcome import Outcome, Released
from tenure.running.plan import Prepared
from tenure.running.runner import Runner
from tenure.worker.child.jobs import Job, Jobs
from tenure.worker.child.stacks import all_stacks
from tenure.worker.child.threads import Threads
from tenure.worker.pipe import CANCEL, EVENT, HELLO, RUN, SAVED, STACKS, STOP

if TYPE_CHECKING:
    from tenure.tasks.app import App
    from tenure.worker.child.imports import Files
    from tenure.worker.child.wire import Wire

TURN_JOBS = 16
"""So many jobs begin, and are told of, at a time. Of a hundred that came at once all would else
end at once, and parent and broker be idle until then, and this process after it."""

FILES_EVERY_S = 1.0
"""How often it is looked whether more modules were imported, when the parent wants to know."""

NO_THREAD_MS = 1_000
"""When a job comes again for which there was no thread."""


class Host:
    """Runs jobs until the parent says stop."""

    def __init__(self, app: App, wire: Wire, jobs: Jobs) -> None:
        self._app = app
        self._wire = wire
        self._jobs = jobs
        self._threads: Threads[Job, Outcome] = Threads(self._run_in_thread, self._report)
        self._thread = threading.get_ident()
        self._events: set[asyncio.Task[None]] = set()
        self._flush_is_due = False
        self._untold = 0
        self._loop: asyncio.AbstractEventLoop
        self._runner: Runner
        self._stop: asyncio.Event
        self._stopping = False
        self.is_ready = False

    async def serve(self, hello: dict[str, Any], files: Files | None) -> None:
        """Open the lifespan, say hello, run what comes, and close the lifespan."""
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with opened(self._app) as resources:
            self._runner = Runner(self._app, resources, loop=self._loop)
            self.is_ready = True
            self._wire.send([HELLO, hello])
            self._wire.read_on(self._loop, self._wire.read)
            watching = None if files is None else asyncio.create_task(self._tell_files(files))
            await self._stop.wait()
            if watching is not None:
                watching.cancel()
            if self._events:
                await asyncio.wait(self._events)
        self._wire.drain()

    def handle(self, message: list[Any]) -> None:
        """A message of the parent; in the loop's thread, or the watch's when that is stuck."""
        kind = message[0]
        if kind == RUN:
            if threading.get_ident() == self._thread:
                self._start(message[1])
            else:
                self._loop.call_soon_threadsafe(self._start, message[1])
        elif kind == CANCEL:
            self._jobs.cancel(message[1], message[2])
        elif kind == SAVED:
            self._jobs.saved(message[1], message[2], message[3])
        elif kind == STACKS:
            self._wire.send([STACKS, message[1], all_stacks(self._jobs.all(), self._loop)])
        elif kind == EVENT:
            self._loop.call_soon_threadsafe(self._tell_hooks, message[1], message[2])
        elif kind == STOP:
            self._loop.call_soon_threadsafe(self._begin_to_stop)

    # -- jobs ---------------------------------------------------------------------------

    def _start(self, items: list[Any]) -> None:
        # All are known at once: one may be cancelled before its turn.
        self._begin_some([self._jobs.add(key, row) for key, row in items], 0)

    def _begin_some(self, jobs: list[Job], first: int) -> None:
        behind = first + TURN_JOBS
        for job in jobs[first:behind]:
            try:
                self._begin(job)
            except BaseException as error:  # those that came with it are to begin all the same
                self._end(job, outcome_of(error, None, None))
        if behind < len(jobs):
            self._loop.call_soon(self._begin_some, jobs, behind)

    def _begin(self, job: Job) -> None:
        run = self._runner.prepare(from_row(job.row), job.port, job.control)
        if not isinstance(run, Prepared):
            self._end(job, run)
        elif not job.begin(run).plan.in_thread:
            self._loop.create_task(self._run(job, run))
        else:
            try:
                self._threads.submit(job)
            except RuntimeError as error:  # the system gives no more threads
                self._end(job, Released(NO_THREAD_MS, str(error)))

    async def _run(self, job: Job, run: Prepared) -> None:
        try:
            outcome = await self._runner.run_prepared(run)
        except BaseException as error:  # user code has cancelled its own asyncio task
            outcome = outcome_of(error, None, run.plan.retry)
        self._end(job, outcome)

    def _end(self, job: Job, outcome: Outcome) -> None:
        # All that end in one turn of the loop are told in one write, if they are few.
        self._jobs.end(job, outcome)
        self._untold += 1
        if self._untold >= TURN_JOBS:
            self._untold = 0
            self._wire.flush()
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_due = False
        self._untold = 0
        self._wire.flush()
        if self._stopping:
            self._begin_to_stop()

    def _run_in_thread(self, job: Job) -> Outcome:
        assert job.run is not None, "jobs are prepared before they run"
        try:
            return self._runner.run_prepared_blocking(job.run, self._loop)
        except BaseException as error:  # a thread that dies would tell nobody
            return outcome_of(error, None, job.run.plan.retry)

    def _report(self, job: Job, outcome: Outcome) -> None:
        # In the job's thread: a stuck loop does not hold it up.
        self._jobs.end(job, outcome)
        self._wire.flush()
        if self._stopping:
            self._loop.call_soon_threadsafe(self._begin_to_stop)

    # -- the rest ---------------------------------------------------------------------------

    def _begin_to_stop(self) -> None:
        self._stopping = True
        if not self._jobs:
            self._stop.set()

    def _tell_hooks(self, kind: str, data: dict[str, Any]) -> None:
        task = self._loop.create_task(run_hooks(self._app, kind, data))
        self._events.add(task)
        task.add_done_callback(self._events.discard)

    async def _tell_files(self, files: Files) -> None:
        while True:
            await asyncio.sleep(FILES_EVERY_S)
            files.tell(self._wire)
