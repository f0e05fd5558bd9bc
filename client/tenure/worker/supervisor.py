"""The worker's life: what is made of what, one turn of the loop, one timer, one end.

    broker ◄─► connection ◄─ feed (keep, reserve) ─► jobs ─► pool ─► crew ─► child
                          ◄─ settler, notes ◄─────────┴── staff ◄────────────┘
                          ◄─ renewal (extend), registry (beat)

Everything that happens calls `turn_soon`; one turn then sends what came together: notes,
acks, reserves. So they leave in one write, in this order.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from typing import Any

from tenure.core import fleet
from tenure.core.reconnect import Reconnect
from tenure.errors import InvalidUrl, TenureError
from tenure.settings import Settings, mono_ms, settings_of, wall_ms
from tenure.worker import endings, pipe
from tenure.worker.connection import Connection
from tenure.worker.consumption import Consumption
from tenure.worker.events import LOST, event_map, events_of
from tenure.worker.failures import Failures
from tenure.worker.feed import Feed
from tenure.worker.heartbeat import Heartbeat
from tenure.worker.held import Held
from tenure.worker.jobs import Jobs
from tenure.worker.log import Log, Output
from tenure.worker.notes import Notes
from tenure.worker.options import WorkerOptions
from tenure.worker.registry import Registry
from tenure.worker.renewal import Renewal
from tenure.worker.report import Reporter
from tenure.worker.settle import Item, Settler
from tenure.worker.specs import Queues, queue_names, show_names, show_queues
from tenure.worker.stacks import slots_table
from tenure.worker.staff import Staff
from tenure.worker.stop import Stop
from tenure_protocol.version import VERSION

EXIT_OK = 0
EXIT_CONFIG = 78
EXIT_UNAVAILABLE = 69
EXIT_INTERRUPTED = 130

_ALARM_MS_MAX = 3_600_000
_NEVER_MS = 2**62
_TIMED_LOOK_S = 1.0
_REQUEST_TIMEOUT_S = 10
_CONNECT_TIMEOUT_S = 3
_RECONNECT_MS_MAX = 1_000
"""A worker has leases that begin anew when the broker does: it must be back before they end."""


class Worker:
    """One worker: `run` it, once."""

    def __init__(self, options: WorkerOptions, output: Output, log: Log) -> None:
        self.options = options
        self.log = log
        self.started_at_ms = wall_ms()
        self._loop = asyncio.get_running_loop()
        self.connection = Connection()
        self.consumption = Consumption([pool.name for pool in options.pools], burst=options.burst)
        self.heartbeat = Heartbeat(options.heartbeat_ms)
        self.failures = Failures(log, later=self._later)
        self.settler = Settler(self.connection, self._told, log, changed=self.turn_soon)
        self.jobs = Jobs(
            self.settler,
            self.heartbeat,
            log,
            now=mono_ms,
            later=self._later,
            stuck=lambda child: self.staff.replace_stuck(child),
            lost=self._lease_lost,
            noted=self._noted,
        )
        self.notes = Notes(self.connection, self.jobs.lease_lost)
        self.staff = Staff(options, self.jobs, output, log, changed=self.turn_soon)
        self.renewal = Renewal(self.connection, self.heartbeat, self.jobs, log)
        self.feed = Feed(
            self.connection,
            self.consumption,
            leases=self.leases,
            took=self._took,
            changed=self.turn_soon,
            synced=self._synced,
        )
        self.reporter = Reporter(self)
        self.registry = Registry(self.connection, self.reporter.who, self.reporter.how)
        self.stop = Stop(self)
        self._turning = False
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_ms = 0
        self._trouble: str | None = None
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- the life -------------------------------------------------------------------------

    async def run(self) -> int:
        """Work until it is told to stop, or with `burst` until the queues are empty."""
        self._take_signals()
        try:
            self.staff.fill(mono_ms())
            if self.options.reload:
                self._spawn(self.staff.watch_files())
            trouble = await self.stop.unless_stopped(self.staff.first)
            if self.staff.manifest is None:
                self.staff.kill_all("the worker ends")
                await self.staff.wait(5)
                return EXIT_OK if trouble is None else EXIT_CONFIG
            try:
                self._open(self.staff.manifest)
                await self.reporter.start()
            except InvalidUrl as error:
                self.log.error("there is no broker to connect to", error=str(error))
                return EXIT_CONFIG
            except OSError as error:
                self.log.error("health checks cannot be served", error=str(error))
                return EXIT_UNAVAILABLE
            return await self.stop.run()
        finally:
            await self._close()

    def _take_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self.stop.signalled, number)
        self._loop.add_signal_handler(signal.SIGUSR2, self._dump)

    def _open(self, manifest: dict[str, Any]) -> None:
        self._set_queues(manifest)
        self.jobs.tasks = manifest["tasks"]
        self.staff.on_manifest = self._new_manifest
        settings = self._settings(manifest)
        self.connection.open(settings, self._notice, self._connection_changed)
        addresses = ", ".join(map(str, settings.addresses))
        self.log.info(
            "the worker starts",
            app=self.options.app, broker=addresses,
            queues=" ".join(show_queues(queues) for queues in self.feed.queues.values()),
            pools=" ".join(f"{p.name}={p.kind}:{p.size}" for p in self.options.pools),
            tasks=show_names(manifest["tasks"]),
        )  # fmt: skip
        self._spawn(self.registry.run())
        if self.options.limits.timed:
            self._spawn(self._look_at_children())
        self.turn_soon()

    def _settings(self, manifest: dict[str, Any]) -> Settings:
        return settings_of(
            # As the app itself chooses: what it was made with, else TENURE_URL, else this machine.
            self.options.url or manifest.get("url"),
            name=self.options.name,
            codec="msgpack",
            timeout=_REQUEST_TIMEOUT_S,
            connect_timeout=_CONNECT_TIMEOUT_S,
            reconnect=Reconnect(cap_ms=_RECONNECT_MS_MAX),
            compress_over=False,
        )

    def _set_queues(self, manifest: dict[str, Any]) -> None:
        # Nobody said which is more important: a full queue must not starve the others.
        of_the_app = dict.fromkeys(manifest["queues"], 1)
        default: Queues = self.options.queues or of_the_app
        self.feed.queues = {pool.name: pool.queues or default for pool in self.options.pools}

    def _new_manifest(self, manifest: dict[str, Any]) -> None:
        self.jobs.tasks = manifest["tasks"]
        self._set_queues(manifest)

    def _later(self, pause_ms: int, call: Callable[[], None]) -> object:
        return self._loop.call_later(pause_ms / 1000, call)

    def _spawn(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _close(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        for task in list(self._tasks):
            task.cancel()
        self.feed.drop()
        await self.reporter.stop()
        await self.connection.close()
        self.staff.kill_all("the worker ends")
        await self.staff.wait(5)
        self.log.flush()

    async def _look_at_children(self) -> None:
        while True:
            await asyncio.sleep(_TIMED_LOOK_S)
            self.staff.recycle_by_time()

    # -- one turn of the loop -------------------------------------------------------------

    def turn_soon(self) -> None:
        """Something changed: see to it once everything of this turn has happened."""
        if not self._turning:
            self._turning = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turning = False
        now_ms = mono_ms()
        if self._alarm_ms <= now_ms:
            self.jobs.tick(now_ms)
            self.renewal.tick(now_ms)
            self.staff.fill(now_ms)
        if self.consumption.quiet:
            self.jobs.release_waiting(self.staff.pools.values())
        settles = self.settler.unsent
        if settles:
            self.consumption.ended_something()
        for name, pool in self.staff.pools.items():
            self.consumption.set_free(name, pool.slots.free)
        self.notes.flush(now_ms, all_of_it=settles)
        # A reserve takes along what is settled: the broker makes one commit of both.
        self.settler.flush(at_once=self.consumption.quiet or self.consumption.wants(now_ms))
        if self.connection.is_open:
            self.feed.turn(now_ms)
        self._set_alarm(now_ms)
        self._tell_trouble()
        self.stop.look()

    def _set_alarm(self, now_ms: int) -> None:
        alarm_ms = min(
            self.heartbeat.alarm_ms,
            self.jobs.deadlines.alarm_ms,
            self.notes.alarm_ms,
            self.consumption.alarm_ms if self.connection.is_open else _NEVER_MS,
            self.staff.alarm_ms,
            now_ms + _ALARM_MS_MAX,
        )
        # Moved forward only: a timer that rings too early costs one look.
        if self._alarm is not None:
            if now_ms < self._alarm_ms <= alarm_ms:
                return
            self._alarm.cancel()
        self._alarm_ms = alarm_ms
        self._alarm = self._loop.call_later(max(0, alarm_ms - now_ms) / 1000, self._ring)

    def _ring(self) -> None:
        self._alarm = None
        self.turn_soon()

    def _tell_trouble(self) -> None:
        trouble = self.feed.trouble
        if trouble != self._trouble:
            self._trouble = trouble
            if trouble is not None:
                self.log.warning("the broker does not answer; trying on", error=trouble)

    # -- what comes in --------------------------------------------------------------------

    def _connection_changed(self, is_open: bool) -> None:
        if self.stop.asked:
            pass  # it ends: then it may hang up and call again for its last words
        elif is_open:
            self.log.info("connected")
        else:
            self.log.warning("the connection is lost; running jobs go on")
        self.feed.connection(is_open)

    def _synced(self) -> None:
        # The lease of a job may have run out while the broker was not to be reached.
        self.heartbeat.at_once(self.jobs.held.values(), mono_ms())
        self.registry.poke()

    def leases(self) -> list[list[Any]]:
        """[id, attempt] of all that is here, or that the broker has not answered."""
        return [*self.jobs.leases(), *self.settler.leases()]

    def _took(self, name: str, rows: list[list[Any]], run: bool) -> None:
        pool = self.staff.pools[name]
        if run:
            self.jobs.take(pool, rows, mono_ms())
        else:
            self.jobs.give_back(pool, rows, endings.QUIET_REASON)
        self.registry.stir()

    def _noted(self, held: Held, message: list[Any]) -> None:
        now_ms = mono_ms()
        kind = message[0]
        if kind == pipe.PROGRESS:
            self.notes.progress(held, message[2:5], now_ms)
        elif kind == pipe.LOG:
            self.notes.log(held, message[2], now_ms)
        else:
            self.notes.checkpoint(held, message[2], message[3], now_ms)

    def _told(self, op: str, items: list[Item], outcomes: list[Any]) -> None:
        """The broker's last word on jobs."""
        self.registry.stir()
        hooks = self._hooks
        if op == "ack" and not hooks and outcomes.count(0) == len(items) == len(outcomes):
            return  # the common case, measured: nobody wants to hear of it
        for (held, item), outcome in zip(items, outcomes, strict=True):
            self.failures.told(held, op, item, outcome)
            if outcome != 0 and outcome[0] != 0:
                self._refused(held, op, outcome)
            if hooks:
                for kind in events_of(op, outcome):
                    if kind in hooks:
                        self.staff.event(held.pool, kind, event_map(held, item, outcome))

    @property
    def _hooks(self) -> list[str]:
        return [] if self.staff.manifest is None else self.staff.manifest.get("hooks") or []

    def _refused(self, held: Held, op: str, outcome: list[Any]) -> None:
        if op == "release":
            return  # it was gone already: that comes to the same
        self.log.warning(
            "the broker refused what became of a job",
            op=op, task=held.task, job=held.name, error=f"{outcome[1]}: {outcome[2]}",
        )  # fmt: skip
        if op == "ack" and outcome[1] == "PAYLOAD_TOO_LARGE":
            told = {"error_type": "ResultTooLarge", "message": outcome[2], "dead": True}
            self.settler.fail(held, told)
            self.turn_soon()

    def _lease_lost(self, held: Held) -> None:
        if LOST in self._hooks:
            self.staff.event(held.pool, LOST, event_map(held, None, None))

    def _notice(self, kind: str, details: dict[str, Any]) -> None:
        if kind != "worker":
            return
        do = details.get("do")
        if do == "quiet":
            self.set_quiet(True, "told to")
        elif do == "resume":
            self.set_quiet(False, "told to")
        elif do == "stop":
            self.log.info("told to stop")
            self.stop.ask()
        elif do == "stacks":
            self._spawn(self._report_stacks(details.get("token")))

    def set_quiet(self, quiet: bool, why: str) -> None:
        """Take no new jobs, or take them again."""
        if self.consumption.quiet != quiet and not self.stop.asked:
            self.log.info("quiet" if quiet else "consuming again", because=why)
            self.consumption.quiet = quiet
            self.registry.poke()
            self.turn_soon()

    # -- stacks ---------------------------------------------------------------------------

    def _table(self) -> str:
        return slots_table(self.staff.pools.values(), self.consumption, mono_ms())

    def _dump(self) -> None:
        self.log.text(self._table())
        for child in self.staff.children:
            child.dump_stacks()

    async def _report_stacks(self, token: Any) -> None:
        text = self._table() + await self.staff.stacks.gather(self.staff.children)
        try:
            await self.connection.call(fleet.report(token, text))
        except TenureError as error:
            self.log.warning("the stacks were not delivered", error=str(error))


def describe(options: WorkerOptions, queues: dict[str, Queues]) -> dict[str, Any]:
    """Who a worker is, for the broker and for people."""
    names = dict.fromkeys(name for each in queues.values() for name in queue_names(each))
    return {
        "name": options.name,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "version": VERSION,
        "app": options.app,
        "queues": list(names),
        "concurrency": sum(pool.size for pool in options.pools),
        "pools": [
            {
                "name": pool.name,
                "kind": pool.kind,
                "size": pool.size,
                "prefetch": pool.prefetch,
                "queues": show_queues(queues[pool.name]),
            }
            for pool in options.pools
            if pool.name in queues
        ],
    }
