"""The lives of one broker: started, served, crashed or stopped, started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tenure_server.broker import Broker
from tenure_server.config import Config, Limits, Timeouts
from tenure_server.connection import Connection
from tenure_server.engine import Now
from tenure_server.hub import Hub
from tenure_storage import journaled_store
from tenure_storage.store import StoreError
from tests.sim.disk import Disk, Name
from tests.sim.ends import CrashError
from tests.sim.history import History
from tests.sim.journaling import SimJournalWriter
from tests.sim.lmdb import SimLmdb
from tests.sim.loop import SimLoop
from tests.sim.net import Net
from tests.sim.plan import Plan, rng_of

WALL_MS = 1_800_000_000_000
KIB = 1 << 10


class Lives:
    """One broker and its disk, over all its lives. Nothing of a life outlives its end but the disk."""

    lmdb: SimLmdb
    writer: SimJournalWriter

    def __init__(self, plan: Plan, loop: SimLoop, history: History, disk: Disk, net: Net) -> None:
        self.plan = plan
        self.loop = loop
        self.history = history
        self.disk = disk
        self.net = net
        self.hub: Hub | None = None
        self.number = 0
        self.up = False
        self.ended_us = 0
        """When the last life that served ended."""
        self.wall_shift_ms = 0
        self.slow_us = 0
        """What every step of the disk takes longer just now."""
        self.latched_life = 0
        """The life that met an error of its disk: it must answer nobody any more."""
        self.rests = False
        """No more lives after this one."""
        self._rng = rng_of(plan.seed, "lives")
        self._broker: Broker | None = None
        self._running: asyncio.Task[int] | None = None
        self._power = False
        self._crashed = False
        self.on_clock: Callable[[int], None] = lambda _: None
        self.on_sealed: Callable[[], None] = lambda: None
        self.on_started: Callable[[], None] = lambda: None
        self.on_ended: Callable[[], None] = lambda: None
        disk.on_crash = self._crash_at_point
        net.guarded = self.guarded

    # ---- time --------------------------------------------------------------------------------

    def clock(self) -> Now:
        """The broker's clocks."""
        now_ms = self.loop.now_ms
        wall_ms = WALL_MS + now_ms + self.wall_shift_ms
        self.on_clock(wall_ms)
        return Now(wall_ms, now_ms)

    def client_wall_ms(self) -> int:
        """The clients' wall clock, which agrees with the broker's in nothing."""
        return WALL_MS + self.loop.now_ms - 7_777_777

    def sync_us(self) -> int:
        """How long the next sync of the journal takes."""
        return 1 + int(self._rng.expovariate(1) * self.plan.sync_us) + self.slow_us

    def commit_us(self) -> int:
        """How long the next half of an LMDB commit takes."""
        return 1 + int(self._rng.expovariate(1) * self.plan.commit_us) + self.slow_us

    # ---- what the product calls ----------------------------------------------------------------

    async def serve(self, hub: Hub, _sockets: object) -> list[Any]:
        """Instead of listening on sockets."""
        self.hub = hub
        self.net.listener = lambda: Connection(hub)
        self.up = True
        self.history.note("broker", "serving", self.number)
        self.on_started()
        lives = self

        class Listening:
            def close(self) -> None:
                lives.net.listener = None

        return [Listening()]

    def logged_error(self, event: str, fields: dict[str, Any]) -> None:
        """An error in the broker's log: some are expected, under faults."""
        if event == "commit_failed":
            self.latched_life = self.number
            self.history.note("broker", "latched", self.number)
        elif event in ("store_full", "store_close_failed"):
            return
        else:
            self.history.blame("no faults inside", f"{event} {fields}")

    def guarded(self, call: Callable[..., None], *args: Any) -> None:
        """Calls into the broker; a crash inside is the end of that call."""
        try:
            call(*args)
        except CrashError:
            return

    # ---- lives -------------------------------------------------------------------------------

    async def run(self) -> None:
        """One life after the other, until `rests`."""
        while not self.rests:
            self.number += 1
            self._crashed = False
            try:
                await self._live()
            except CrashError:
                self._end()
            self.up = False
            self.on_ended()
            if not self.rests:
                await asyncio.sleep(self._rng.choice([0.001, 0.1, 1.0, 5.0]))

    async def _live(self) -> None:
        store = self._open()
        if store is None:
            return
        submit = store.submit

        def submitted(batch: Any, on_done: Any) -> None:
            self.on_sealed()
            self.writer.wrote_here = False
            submit(batch, on_done)
            if self.writer.wrote_here:
                self.history.reach("written on the loop's thread")
                self.disk.point("journal.after_told")

        store.submit = submitted  # type: ignore[method-assign]
        limits = Limits(
            window_bytes_max=self.plan.window_bytes,
            leases=self.plan.leases_max,
            waiting=self.plan.waiting_max,
        )
        timeouts = Timeouts(idle_ms=20_000, stop_ms=3_000, send_ms=5_000, handshake_ms=3_000)
        config = Config(limits=limits, timeouts=timeouts)
        sockets: Any = [None]
        self._broker = Broker(config, store, sockets=sockets, http_sockets=[], load=None)
        self._running = asyncio.ensure_future(self._broker.run())
        await asyncio.wait([self._running])
        if self._crashed:
            if not self._running.cancelled():
                self._running.exception()
            return
        code = self._running.result()
        self.history.note("broker", "ended", self.number, code)
        self.history.reach(f"exit code {code}")
        self.net.listener = None
        try:
            store.close()
        except StoreError as error:
            self.history.note("broker", "close_failed", error)
        except CrashError:
            return
        except Exception as error:
            self.history.note("broker", "close_failed", type(error).__name__)
        self._end()

    def _open(self) -> journaled_store.JournaledStore | None:
        path: Any = Name(self.disk, "data")
        self.disk.met_error = False
        try:
            return journaled_store.open_journaled(path, max_bytes=1 << 30)
        except (StoreError, OSError) as error:
            self.history.note("broker", "no_start", error)
            if not self.disk.met_error:
                self.history.blame("starts again", f"life {self.number}: {error}")
            self.history.reach("starts that failed")
            self._end()
            return None

    def _end(self) -> None:
        """Whatever is left of this life does nothing any more."""
        for part in (getattr(self, "lmdb", None), getattr(self, "writer", None)):
            if part is not None:
                part.dead = True
        if self.up:
            self.ended_us = self.loop.now_us
        self.up = False
        self.net.listener = None
        self.net.broker_gone(silently=self._power and self._rng.random() < 0.5)
        if self._power:
            self.disk.power_cut()
        else:
            self.disk.process_ended()
        self._power = False

    # ---- crashes -------------------------------------------------------------------------------

    def crash(self, *, power: bool, why: str) -> None:
        """The process ends here, or (`power`) the machine does."""
        if self._crashed:
            return
        self._crashed = True
        self._power = power
        self.history.note("broker", "power_cut" if power else "killed", self.number, why)
        self.history.reach("power cuts" if power else "kills")
        hub, self.hub = self.hub, None
        if hub is not None:
            hub.pump.stop()
        broker, self._broker = self._broker, None
        if broker is not None:
            broker._heartbeat.stop()
        if self.up and self._rng.random() < 0.7:
            self.writer.write_unsynced()
        self._end()
        if self._running is not None and not self._running.done():
            self._running.cancel()

    def _crash_at_point(self, name: str) -> None:
        self.crash(power=self._rng.random() < 0.7, why=name)

    def stop(self) -> None:
        """SIGTERM."""
        if self._broker is not None and self.up:
            self.history.note("broker", "told_to_stop", self.number)
            self.history.reach("orderly stops")
            self._broker.stop()
