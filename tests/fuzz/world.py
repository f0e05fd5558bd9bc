"""A whole broker in this process and in virtual time, small enough that its limits are met."""

from __future__ import annotations

import asyncio
import random
from typing import Any, cast

from tenure.testing.virtual_time import VirtualLoop
from tenure_server import log
from tenure_server.assembly import assemble
from tenure_server.config import Config, Limits, Timeouts
from tenure_server.engine import Now
from tenure_storage.memory_store import MemoryStore
from tests.fuzz.line import Line
from tests.support.store_view import verified

WALL_MS = 1_750_000_000_000
KIB = 1024

LIMITS = Limits(
    connections=12, frame_bytes_max=128 * KIB, payload_bytes_max=32 * KIB, result_bytes_max=8 * KIB,
    jobs_per_request=64, queues=24, leases=60, waiting=20, waiting_per_connection=8,
    requests_per_connection=12, request_bytes_per_connection=64 * KIB, request_bytes_max=512 * KIB,
    outbound_bytes_max=64 * KIB, outbound_bytes_total=512 * KIB, window_bytes_max=64 * KIB,
    producer_rows=64,
)  # fmt: skip
"""Small, so that a short conversation reaches every one of them."""

TIMEOUTS = Timeouts(idle_ms=86_400_000, producer_ms=5_000)
"""Virtual hours pass while nobody pings; and looking after producers takes a turn every second."""

TURNS_MAX = 20_000


class Fault(AssertionError):
    """Something that must not happen has happened."""


class _Silence:
    def debug(self, event: str, **fields: Any) -> None: ...
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...
    def error(self, event: str, **fields: Any) -> None: ...


class Room:
    """One broker, its store, its time, and the lines into it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.loop = VirtualLoop(WALL_MS)
        self.store = MemoryStore()
        self.limits = limits
        self.faults: list[BaseException] = []
        self.lines: list[Line] = []
        self._random = random.Random(0)
        self._start()

    def _start(self) -> None:
        log.log_to(_Silence())
        self.hub = assemble(
            Config(ephemeral=True, limits=self.limits, timeouts=TIMEOUTS),
            self.store,
            clock=lambda: Now(self.loop.wall_ms, self.loop.mono_ms),
            random=self._random.random,
            new_id=self._random.randbytes,
            loop=cast(asyncio.AbstractEventLoop, self.loop),
            on_fault=lambda error, in_store: self.faults.append(error),
        )
        self.hub.pump.wake()
        self.settle()

    def connect(self) -> Line:
        """A new connection."""
        line = Line(self.hub, self.loop)
        self.lines.append(line)
        return line

    def settle(self) -> None:
        """Lets the broker do everything that it can do now."""
        self.loop.run()
        if self.faults:
            raise Fault(f"the broker broke: {self.faults[0]!r}") from self.faults[0]

    def advance(self, ms: int) -> None:
        """Lets time pass; everything on the way happens at its time."""
        until = self.loop.mono_ms + ms
        for _ in range(TURNS_MAX):
            due = self.loop.next_ms
            if due is None or due > until:
                self.loop.move_to(until)
                self.settle()
                return
            self.loop.move_to(due)
            self.settle()
        raise Fault(f"the broker had {TURNS_MAX} things to do within {ms} ms")

    def sweep(self) -> None:
        """The look at everybody's times that a broker takes once a second."""
        self.hub.sweep(self.loop.mono_ms)
        self.settle()

    # ---- what must hold ------------------------------------------------------------------

    def check(self) -> None:
        """What is counted is what is there, and nothing is held for those who have gone."""
        hub = self.hub
        here = list(hub.connections)
        told = {
            "request_bytes": (hub.request_bytes, sum(each._ledger.bytes for each in here)),
            "partial_bytes": (hub.partial_bytes, sum(each.partial_bytes for each in here)),
            "sessions": (hub.engine.session_count, len(hub.by_session)),
            "waits": (
                hub.engine.waiting_count,
                sum(len(each.session.waits) for each in here if each.session is not None),
            ),
            "dirty": (len(hub.dirty), 0),
            "workers": (len(hub.workers) <= len(here), True),
        }
        for what, (counted, there) in told.items():
            if counted != there:
                raise Fault(f"{what}: {counted} are counted, {there} are there")
        if hub.engine.lease_count > self.limits.leases:
            raise Fault(f"{hub.engine.lease_count} leases; the limit is {self.limits.leases}")

    def verify(self) -> None:
        """The rows of the store agree with each other, and a restart finds what was there."""
        self.settle()
        findings = verified(self.store)
        if findings.errors:
            raise Fault(f"the store is not sound: {findings.errors[:3]}")

    def restart(self) -> None:
        """Everybody is cut off, and a new broker starts with the same store."""
        self.hub.pump.wake()  # the wall clock may have moved
        self.settle()
        before = self._counts()
        for line in self.lines:
            line.hang_up()
        self.lines.clear()
        self.settle()
        self.loop.clear()
        self._start()
        after = self._counts()
        if before != after:
            raise Fault(f"before the restart {before}, after it {after}")

    def _counts(self) -> dict[str, Any]:
        now = self.hub.clock()
        return {
            str(info["name"]): info["counts"]
            for info in self.hub.engine.queue_infos(now)
            if info["settings"]["durability"] == "disk"  # type: ignore[index]
        }

    def close(self) -> None:
        """The end of this broker."""
        self.loop.clear()
        self.store.close()
        log.log_to(None)
