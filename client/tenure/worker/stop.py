"""How a worker ends.

    asked ──► quiet: no new jobs, those that have not begun go back at once
          ──► jobs run on, up to the grace period
          ──► those left are told to stop; what does not is killed and goes back: no attempt used
          ──► acks answered, leases said goodbye to, children ended, done

A second signal goes straight to the killing.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenure.core.command import Command
from tenure.errors import TenureError
from tenure.packing import pack
from tenure.worker import pipe

if TYPE_CHECKING:
    from tenure.worker.supervisor import Worker

CUT_S = 2.0
"""How long jobs that were told to stop may take to do it."""

ANSWER_S = 10.0
"""How long the broker may take to answer what is settled at the end, at least."""

HURRIED_S = 2.0
"""The same after a second signal."""

CLEANUP_S = 10.0
"""How long children may take to close their resources."""

_LOOK_S = 0.5

_GOODBYE_MS = 2_000

EXIT_OK = 0
EXIT_INTERRUPTED = 130
EXIT_TEMPORARY = 75


def goodbye(keep: list[list[Any]] | None) -> Command[Any]:
    """Every lease but `keep` goes back, waiting reserves end, and the broker hangs up."""
    return Command("goodbye", pack([keep]), lambda result: result, timeout_ms=_GOODBYE_MS)


class Stop:
    """Knows whether the end was asked for, and brings it about."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._asked = asyncio.Event()
        self._now = asyncio.Event()
        self._changed = asyncio.Event()
        self._interrupted = False

    @property
    def asked(self) -> bool:
        """Whether the worker is ending."""
        return self._asked.is_set()

    def ask(self) -> None:
        """End when the running jobs have."""
        if not self._asked.is_set():
            self._asked.set()
            self._changed.set()

    def signalled(self, number: signal.Signals) -> None:
        """A signal: the first one asks, the second one is an order."""
        if not self.asked:
            self._worker.log.info("stopping", signal=number.name, again="stops at once")
            self.ask()
        else:
            self._interrupted = number == signal.SIGINT
            self._now.set()
            self._changed.set()

    def look(self) -> None:
        """Called at the end of each turn: whoever waits for a state looks at it."""
        if self.asked or self._worker.options.burst:
            self._changed.set()

    async def unless_stopped(self, future: asyncio.Future[str | None]) -> str | None:
        """What `future` brings; None if the worker is asked to stop before."""
        asked = asyncio.ensure_future(self._asked.wait())
        try:
            await asyncio.wait((future, asked), return_when=asyncio.FIRST_COMPLETED)
        finally:
            asked.cancel()
        return future.result() if future.done() else None

    async def run(self) -> int:
        """Wait for the end to be asked for, and end. Returns the exit code."""
        worker = self._worker
        if worker.options.burst:
            await self._until(lambda: self.asked or self._burst_over(), None)
        else:
            await self._asked.wait()
        self._asked.set()
        worker.consumption.quiet = True
        worker.registry.poke()
        worker.turn_soon()
        jobs = worker.jobs
        if jobs.held:
            await self._end_reserves()
            await self._until(lambda: not jobs.held, worker.options.grace_ms / 1000)
        if jobs.held:
            await self._cut()
        settled = await self._settle()
        await self._say_goodbye()
        await self._end_children()
        worker.failures.flush()
        left = "" if settled else f"{worker.settler.count} not answered"
        worker.log.info("stopped", done=jobs.done, failed=jobs.failed, unsettled=left or None)
        if self._now.is_set() and self._interrupted:
            return EXIT_INTERRUPTED
        return EXIT_OK if settled else EXIT_TEMPORARY

    async def _end_reserves(self) -> None:
        """Hang up, and call again for the acks of what still runs.

        A reserve that waits in the broker cannot be taken back, and would be given jobs that
        this worker no longer takes, those first that it gives back itself.
        """
        worker = self._worker
        lines = worker.consumption.lines.values()
        if worker.connection.server is not None and any(line.asked for line in lines):
            with contextlib.suppress(TenureError, OSError):
                await worker.connection.call(goodbye(worker.leases()))

    def _burst_over(self) -> bool:
        worker = self._worker
        return worker.consumption.exhausted and not worker.jobs.held and worker.settler.idle

    async def _until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until `condition` holds, a second signal comes, or the time is over."""
        loop = asyncio.get_running_loop()
        end_s = None if timeout_s is None else loop.time() + timeout_s
        while not condition():
            if self._now.is_set() and timeout_s is not None:
                return False
            left_s = None if end_s is None else end_s - loop.time()
            if left_s is not None and left_s <= 0:
                return False
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left_s)
            except TimeoutError:
                continue
        return True

    async def _cut(self) -> None:
        """The grace period is over, or a second signal came: end what still runs."""
        worker = self._worker
        running = list(worker.jobs.held.values())
        worker.log.warning("jobs are cut short and given back", jobs=len(running))
        for held in running:
            if held.child is not None and held.child.role == pipe.HOST:
                worker.jobs.stop(held, pipe.SHUTDOWN)
        if not self._now.is_set():
            await self._until(lambda: not worker.jobs.held, CUT_S)
        for held in list(worker.jobs.held.values()):
            held.asked_to_stop = held.asked_to_stop or pipe.SHUTDOWN
            if held.child is not None:
                held.child.kill("the worker stops")
        # They are given back only when they are dead: nobody else may run them before.
        await self._wait(lambda: not worker.jobs.held, CUT_S)

    async def _wait(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """The same as `_until`, but that a second signal does not end it."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while not condition() and loop.time() < end_s:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), min(_LOOK_S, end_s - loop.time()))
            except TimeoutError:
                continue
        return condition()

    async def _settle(self) -> bool:
        worker = self._worker
        worker.turn_soon()
        timeout_s = max(ANSWER_S, worker.options.grace_ms / 1000)
        timeout_s = HURRIED_S if self._now.is_set() else timeout_s
        return await self._wait(lambda: worker.settler.idle, timeout_s)

    async def _say_goodbye(self) -> None:
        worker = self._worker
        worker.consumption.stopped = True
        worker.feed.drop()
        if worker.settler.idle and worker.connection.server is not None:
            # Without an answer, the leases that are left end by themselves.
            with contextlib.suppress(TenureError, OSError):
                await worker.connection.call(goodbye(None))

    async def _end_children(self) -> None:
        staff = self._worker.staff
        if self._now.is_set():
            staff.kill_all("the worker stops")
        staff.close()
        ended = asyncio.ensure_future(staff.wait(CLEANUP_S))
        hurried = asyncio.ensure_future(self._now.wait())
        await asyncio.wait((ended, hurried), return_when=asyncio.FIRST_COMPLETED)
        hurried.cancel()
        ended.cancel()
        if staff.children:
            self._worker.log.warning("children that do not end are killed", n=len(staff.children))
            staff.kill_all("the worker stops")
            await staff.wait(CLEANUP_S)
