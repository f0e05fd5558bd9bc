"""`TestBroker`: what the fixture `tenure` gives to a test."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from tenure.client import Client, client_over
from tenure.core.call import Call as WireCall
from tenure.errors import TaskFailed
from tenure.options import datetime_of
from tenure.running.outcome import Failed
from tenure.tasks.call import Call
from tenure.tasks.connections import using
from tenure.tasks.task import Task
from tenure.testing.expecting import check_enqueued, check_not_enqueued, expected
from tenure.testing.faults import Faults, crash
from tenure.testing.holding import Held
from tenure.testing.inprocess import InProcessBroker
from tenure.testing.ledger import Ledger
from tenure.testing.links import LoopbackLink
from tenure.testing.sources import LoopbackSource, loopback_settings
from tenure.testing.views import JobView
from tenure.testing.worker import Worker
from tenure_protocol.durations import Duration, duration_ms

if TYPE_CHECKING:
    from tenure.tasks.app import App

P = ParamSpec("P")
R = TypeVar("R")


class TestBroker:
    """A broker inside the test's process: the real engine and protocol, in virtual time.

    Nothing runs by itself: `run_until_idle` runs the jobs that are ready, `advance` lets time
    pass. While the fixture lives, every `App` of the process is connected to it.
    """

    __test__ = False  # for pytest: a class whose name begins so is not always a test

    def __init__(self) -> None:
        self._broker = InProcessBroker()
        self._source = LoopbackSource(self._broker)
        self._faults = Faults()
        self._ledger = Ledger(LoopbackLink(self._broker, loopback_settings("test-ledger")))
        self._worker = Worker(self._broker, self._source, self._faults, look=self._ledger.refreshed)
        settings = loopback_settings("test")
        self._broker.on_answer = self._answered
        self.client: Client = client_over(LoopbackLink(self._broker, settings), settings)
        """A client of this broker: queues, dead letters, jobs by id, and all the rest."""

    def _answered(self, call: WireCall) -> None:
        self._ledger.note(call, self._broker.loop.wall_ms)
        if call.command.op == "cancel":
            self._worker.beat_all()

    def attach(self, app: App) -> None:
        """Run jobs of this app's tasks, too. Needed only for apps that enqueue nothing."""
        self._source.meet(app)

    # ---- what was enqueued -------------------------------------------------------------------

    def jobs(
        self, task: Task[..., Any] | str | None = None, state: str | None = None
    ) -> list[JobView]:
        """All jobs enqueued so far, ended ones too, oldest first; of one task, in one state."""
        name = task.name if isinstance(task, Task) else task
        views = [self._view(job_id) for job_id in list(self._ledger.entries)]
        return [
            view
            for view in views
            if (name is None or view.task == name) and (state is None or view.state == state)
        ]

    def _view(self, job_id: str) -> JobView:
        entry = self._ledger.entries[job_id]
        name = entry.first.task or ""
        tasks = (app.tasks.get(name) for app in self._source.apps)
        return JobView(self._ledger, entry, next((task for task in tasks if task), None))

    @overload
    def assert_enqueued(
        self,
        task: Task[..., Any] | Call[Any],
        /,
        *,
        queue: str | None = None,
        delay: Duration | None = None,
        count: int | None = None,
    ) -> JobView: ...
    @overload
    def assert_enqueued(
        self, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> JobView: ...
    def assert_enqueued(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A job of this task was enqueued in this test; the first such job.

        With arguments: with exactly these. `task.s(...)` instead of a task takes arguments and
        options together. It does not matter whether the job has run.

        - `queue`: in this queue; `delay`: to run so long after its enqueue.
        - `count`: exactly so many such jobs; 0 returns None.

        Raises `AssertionError`, showing what was enqueued instead.
        """
        wanted = expected(task, args, kwargs)
        self._source.meet(wanted.task.app)
        return check_enqueued(wanted, self.jobs())

    @overload
    def assert_not_enqueued(
        self,
        task: Task[..., Any] | Call[Any],
        /,
        *,
        queue: str | None = None,
        delay: Duration | None = None,
    ) -> None: ...
    @overload
    def assert_not_enqueued(
        self, task: Task[P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> None: ...
    def assert_not_enqueued(self, task: Any, /, *args: Any, **kwargs: Any) -> None:
        """No such job was enqueued; the arguments as in `assert_enqueued`."""
        wanted = expected(task, args, kwargs)
        self._source.meet(wanted.task.app)
        check_not_enqueued(wanted, self.jobs())

    # ---- running jobs ------------------------------------------------------------------------

    def run_one(self) -> bool:
        """Run the next job that is ready; whether there was one."""
        return self._worker.run_one() is not None

    def run_until_idle(self, *, raise_errors: bool = False, max_jobs: int = 10_000) -> int:
        """Run jobs until none is ready, also those that jobs enqueue; how many runs there were.

        A job that is due later waits for `advance`. With `raise_errors` the first attempt that
        fails raises `TaskFailed` here. Raises `RuntimeError` after `max_jobs` runs.
        """
        for number in range(max_jobs):
            held = self._worker.run_one()
            if held is None:
                return number
            if raise_errors:
                _raise_failure(held)
        raise _restless(max_jobs)

    async def arun_one(self) -> bool:
        """`run_one` on the running event loop."""
        with self._at_work():
            return await self._worker.arun_one() is not None

    async def arun_until_idle(self, *, raise_errors: bool = False, max_jobs: int = 10_000) -> int:
        """`run_until_idle` on the running event loop; `def` tasks run in a thread."""
        with self._at_work():
            for number in range(max_jobs):
                held = await self._worker.arun_one()
                if held is None:
                    return number
                if raise_errors:
                    _raise_failure(held)
        raise _restless(max_jobs)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        broker = self._broker
        before, rest = broker.at_work, asyncio.get_running_loop().create_future()
        broker.at_work = rest
        try:
            yield
        finally:
            broker.at_work = before
            rest.set_result(None)

    # ---- time ----------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """The broker's clock. It shows the real time when the test begins, then stands still."""
        return datetime_of(self._broker.loop.wall_ms)

    def advance(self, duration: Duration) -> None:
        """Let time pass. Delays, retries, leases, expiries on the way fall due; no job is run."""
        self._broker.advance(duration_ms(duration, "duration"))

    # ---- faults --------------------------------------------------------------------------------

    def kill_worker_after(self, *, jobs: int, checkpoints: int | None = None) -> None:
        """The worker dies in the middle of its `jobs`-th job from now.

        The job's code runs, to its end or until it has passed so many `checkpoints`, but the
        broker is not told: the job comes back when its lease has run out (`advance`). Another
        worker takes over at once.
        """
        if jobs < 1 or (checkpoints is not None and checkpoints < 1):
            raise ValueError("jobs and checkpoints must be 1 or more")
        self._faults.jobs_left = jobs
        self._faults.checkpoints_left = checkpoints

    def crash_next(self, task: Task[..., Any] | str) -> None:
        """The next job of this task is not run: its process is killed, and its worker says so."""
        self._faults.add_failure(task if isinstance(task, str) else task.name, crash())

    def lose_next_ack(self) -> None:
        """The connection breaks after the next ack was carried out, before it was confirmed."""
        self._worker.lose_next_ack()

    def restart(self) -> None:
        """The broker is killed and starts again with what was committed; leases begin anew."""
        self._broker.restart()

    def fill_store(self) -> None:
        """The store has no room: enqueues raise `StoreFull`, notes are refused, all else goes on."""
        self._broker.set_full(True)

    def unfill_store(self) -> None:
        """The store has room again."""
        self._broker.set_full(False)

    def close(self) -> None:
        """The end of the test."""
        try:
            self._worker.close()
        finally:
            self._broker.close()


@contextmanager
def in_process_broker() -> Iterator[TestBroker]:
    """A `TestBroker`, with every `App` of the process connected to it: what the fixture does."""
    try:
        from tenure_server import log
    except ImportError as error:
        raise RuntimeError("the test broker needs the server: pip install 'tenure[server]'") from (
            error
        )
    log.log_to(_StandardLog())
    try:
        broker = TestBroker()
        try:
            with using(broker._source):
                yield broker
        finally:
            broker.close()
    finally:
        log.log_to(None)


class _StandardLog:
    """The broker's log as pytest shows it: with a failed test, and not among its output."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("tenure.broker")

    def debug(self, event: str, **fields: Any) -> None:
        self._logger.debug("%s %s", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info("%s %s", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning("%s %s", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._logger.error("%s %s", event, fields)


def _raise_failure(held: Held) -> None:
    if isinstance(held.outcome, Failed):
        wire = held.outcome.wire
        raise TaskFailed(
            wire.get("error_type") or "",
            wire.get("message") or "",
            wire.get("traceback"),
            held.delivery.id,
        )


def _restless(max_jobs: int) -> RuntimeError:
    return RuntimeError(
        f"jobs are still ready after {max_jobs} runs. If that many were enqueued, allow more with"
        " max_jobs; else a task enqueues itself, or is retried without a delay"
    )
