"""The worker of a test: runs one job after another, in this process, when it is told to.

What a real worker's parent process does is done at once and in virtual time: heartbeats, acks,
hooks. What a worker's child process does is done by the very same code (`tenure.running`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tenure.core import work
from tenure.jobs import parse_body
from tenure.running.delivery import from_row
from tenure.running.hooks import call_hooks, run_hooks
from tenure.running.outcome import Failed, Outcome, Released, Succeeded
from tenure.testing.faults import Faults
from tenure.testing.holding import Held, HeldPort
from tenure.testing.inprocess import InProcessBroker
from tenure.testing.links import LoopbackLink
from tenure.testing.lives import Lives
from tenure.testing.sources import LoopbackSource, loopback_settings
from tenure.testing.turns import in_job
from tenure.worker.events import events_of
from tenure_protocol.errors import LeaseLost
from tenure_protocol.limits import QUEUES_PER_RESERVE_MAX

if TYPE_CHECKING:
    from tenure.tasks.app import App
    from tenure.tasks.task import Task

_BEATS_PER_LEASE = 3


class Worker:
    """Runs jobs of every app that was met. After a kill it is another worker.

    `look` is called with the id of each job that is about to end.
    """

    def __init__(
        self,
        broker: InProcessBroker,
        source: LoopbackSource,
        faults: Faults,
        look: Callable[[str], object],
    ) -> None:
        self._broker = broker
        self._source = source
        self._faults = faults
        self._look = look
        self._settings = loopback_settings("test-worker")
        self.link = LoopbackLink(broker, self._settings)
        self._lives = Lives()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._held: dict[Held, None] = {}

    # ---- one job -------------------------------------------------------------------------

    def run_one(self) -> Held | None:
        """Run the next job that is ready, if there is one, in this thread."""
        loop = self._own_loop()
        held = self._claim()
        if held is None:
            return None
        token = in_job.set(True)
        try:
            runner = loop.run_until_complete(self._lives.runner(held.app))
            outcome = self._fails_at_once(held) or runner.run_blocking(
                held.delivery, HeldPort(self.link, held, self._faults), held.control
            )
        except BaseException:
            self._give_back(held)
            raise
        finally:
            in_job.reset(token)
        events = self._end(held, outcome)
        if held.killed:
            loop.run_until_complete(self._lives.end())
        for kind in events:
            call_hooks(held.app, kind, held.facts(), loop.run_until_complete)
        return held

    async def arun_one(self) -> Held | None:
        """The same on the running loop; a `def` task runs in a thread, as in a worker."""
        held = self._claim()
        if held is None:
            return None
        token = in_job.set(True)
        try:
            runner = await self._lives.runner(held.app)
            outcome = self._fails_at_once(held) or await runner.run(
                held.delivery, HeldPort(self.link, held, self._faults), held.control
            )
        except BaseException:
            self._give_back(held)
            raise
        finally:
            in_job.reset(token)
        events = self._end(held, outcome)
        if held.killed:
            await self._lives.end()
        for kind in events:
            await run_hooks(held.app, kind, held.facts())
        return held

    def _own_loop(self) -> asyncio.AbstractEventLoop:
        if asyncio._get_running_loop() is not None:
            raise RuntimeError(
                "an event loop runs here: await arun_until_idle() or arun_one() instead"
            )
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop

    # ---- taking a job ----------------------------------------------------------------------

    def _claim(self) -> Held | None:
        row = self._reserve()
        if row is None:
            return None
        delivery = from_row(row)
        name = parse_body(delivery.body, delivery.id).task
        try:
            app, task = self._find(name)
        except LookupError:
            self.link.call(work.settle_raw("release", [row[:2]]))
            raise
        held = Held(row, delivery, app, name, task, self._faults.dooms())
        self._held[held] = None
        self._beat_later(held)
        return held

    def _reserve(self) -> list[Any] | None:
        with self._broker.lock:
            names = self._broker.hub.engine.queue_names()
        for start in range(0, len(names), QUEUES_PER_RESERVE_MAX):
            # The same weight for each: queues take turns.
            queues = dict.fromkeys(names[start : start + QUEUES_PER_RESERVE_MAX], 1)
            rows = self.link.call(work.reserve_rows(queues, 1, 0))
            if rows:
                return rows[0]
        return None

    def _find(self, name: str) -> tuple[App, Task[..., Any] | None]:
        apps = list(self._source.apps)
        for app in apps:
            if name in app.tasks:
                return app, app.tasks[name]
        if not apps:
            raise LookupError(
                f"a job of task {name!r} is ready, but no App was used in this test: tell the"
                " fixture with attach(app)"
            )
        return apps[0], None

    def _fails_at_once(self, held: Held) -> Outcome | None:
        told = self._faults.failure(held.name)
        return None if told is None else Failed(told)

    def lose_next_ack(self) -> None:
        """The connection breaks once the next ack was carried out."""
        self.link.carrier.lose_reply_to = "ack"

    # ---- heartbeats --------------------------------------------------------------------------

    def _beat_later(self, held: Held) -> None:
        pause_s = held.lease_ms / _BEATS_PER_LEASE / 1000
        held.beat = self._broker.loop.call_later(pause_s, self._beat, held)

    def _beat(self, held: Held) -> None:
        if held in self._held:
            self._extend(held)
            self._beat_later(held)

    def beat_all(self) -> None:
        """Tell the broker of every job that runs, and the jobs what it answers."""
        for held in list(self._held):
            self._extend(held)

    def _extend(self, held: Held) -> None:
        outcome = self.link.call(work.settle_raw("extend", [held.key]))[0]
        if outcome == 0:
            return
        if outcome[0] == 0:
            if outcome[1].get("cancel"):
                held.control.cancel("cancelled")
        elif outcome[1] == LeaseLost.code:
            held.control.cancel("lease_lost")

    # ---- the end of a job ----------------------------------------------------------------

    def _let_go(self, held: Held) -> None:
        del self._held[held]
        if held.beat is not None:
            held.beat.cancel()

    def _give_back(self, held: Held) -> None:
        """The job was not run to an end: the test was interrupted, or its lifespan failed."""
        self._let_go(held)
        self.link.call(work.settle_raw("release", [held.key]))

    def _end(self, held: Held, outcome: Outcome) -> list[str]:
        """Tell the broker, or die before; the kinds of the hooks to call."""
        self._let_go(held)
        if held.doomed:
            # The process is gone: its connection breaks, its leases stay. Another takes over.
            held.killed, self._faults.checkpoints_left = True, None
            self.link.close()
            self.link = LoopbackLink(self._broker, self._settings)
            return []
        held.outcome = outcome
        item = list(held.key)
        match outcome:
            case Succeeded(result):
                op = "ack"
                item += [] if result is None else [result]
            case Failed(wire):
                op = "fail"
                item.append(wire)
            case Released(delay_ms, reason):
                op = "release"
                item += [delay_ms, reason]
        # The broker forgets most jobs with their ack; a test may still want to look at them.
        self._look(held.delivery.id)
        answer = self.link.call(work.settle_raw(op, [item]))[0]
        held.answered(answer)
        return events_of(op, answer)

    def close(self) -> None:
        """End the lifespans, and the loop of our own."""
        for loop in self._lives.open_loops():
            if not loop.is_running():
                loop.run_until_complete(self._lives.end())
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
        self.link.close()
