"""Where the product reads clocks, chance and the system, a history puts its own in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import tenure.aio
import tenure.aio_link
import tenure.settings
import tenure_server.broker
import tenure_server.capacity_watch
import tenure_server.engine.core
import tenure_server.heartbeat
import tenure_server.pump
import tenure_storage.capacity
import tenure_storage.direct
import tenure_storage.journal
import tenure_storage.journal_writer
import tenure_storage.journaled_store
from tenure_server.clock import CLOCK_CUT_MS
from tenure_server.config_values import Address
from tenure_server.engine import dead, inspect, lanes, recovery, settle, sweeps
from tenure_server.log import log_to
from tests.sim.disk import GIB
from tests.sim.journaling import SimEvent, SimJournalWriter
from tests.sim.lmdb import SimLmdb
from tests.sim.plan import rng_of

if TYPE_CHECKING:
    from tests.sim.broker import Lives


class Silent:
    """A log that is not written. Warnings and errors are counted in the history."""

    def __init__(self, lives: Lives) -> None:
        self._lives = lives

    def debug(self, event: str, **fields: Any) -> None:
        """Not kept."""

    def info(self, event: str, **fields: Any) -> None:
        """Counted."""
        self._lives.history.reach(f"log {event}")

    def warning(self, event: str, **fields: Any) -> None:
        """Counted."""
        reason = fields.get("reason")
        self._lives.history.reach(f"log {event} {reason}" if reason else f"log {event}")

    def error(self, event: str, **fields: Any) -> None:
        """Counted, and looked at: some of them are faults."""
        self._lives.history.reach(f"log {event}")
        self._lives.logged_error(event, fields)


@contextlib.contextmanager
def patched(lives: Lives) -> Iterator[None]:
    """Everything in this process that is called from inside lives in this history."""
    with contextlib.ExitStack() as stack:
        for module, names in _changes(lives):
            for name, value in names.items():
                stack.enter_context(patch.object(module, name, value))
        log_to(Silent(lives))
        stack.callback(log_to, None)
        yield


def _changes(lives: Lives) -> list[tuple[Any, dict[str, Any]]]:
    return [*_storage(lives), _capacity(lives), *_server(lives), *_client(lives)]


def _storage(lives: Lives) -> list[tuple[Any, dict[str, Any]]]:
    plan, disk, loop = lives.plan, lives.disk, lives.loop

    def open_lmdb(path: Any, *, max_bytes: int, map_bytes: int | None = None) -> SimLmdb:
        lives.lmdb = SimLmdb(path, disk, loop, max_bytes)
        lives.lmdb.delay_us = lives.commit_us
        return lives.lmdb

    def writer(journal: Any) -> SimJournalWriter:
        lives.writer = SimJournalWriter(journal, disk, loop, lives.sync_us)
        return lives.writer

    system = SimpleNamespace(
        **{name: getattr(os, name) for name in dir(os) if name.startswith("O_")},
        open=disk.open, pwrite=disk.pwrite, pread=disk.pread, fdatasync=disk.fdatasync,
        fsync=disk.fsync, posix_fallocate=disk.posix_fallocate, close=disk.close,
        urandom=rng_of(plan.seed, "journal id").randbytes,
    )  # fmt: skip
    return [
        (tenure_storage.direct, {"os": system}),
        (
            tenure_storage.journal,
            {
                "os": system,
                "sync_directory": lambda _: disk.sync_names(),
                "JOURNAL_BYTES": plan.journal_bytes,
            },
        ),
        (tenure_storage.journal_writer, {"mono_us": lambda: loop.now_us}),
        (
            tenure_storage.journaled_store,
            {
                "open_lmdb": open_lmdb,
                "JournalWriter": writer,
                "threading": SimpleNamespace(Event=lambda: SimEvent(lives.lmdb)),
                "_mono_ms": lambda: loop.now_ms,
                "RECORD_ROWS_MAX": plan.record_rows_max,
                "HERE_BYTES_MAX": plan.here_bytes_max,
                "BEHIND_ROWS_MAX": plan.behind_rows_max,
                "BEHIND_MS_MAX": plan.behind_ms_max,
            },
        ),
    ]


def _capacity(lives: Lives) -> tuple[Any, dict[str, Any]]:
    disk = lives.disk

    def hold(path: object, reserve_bytes: int) -> bool:
        if disk.free_bytes >= reserve_bytes:
            disk.free_bytes -= reserve_bytes
            disk.holds_reserve = True
        return disk.holds_reserve

    def release(path: object) -> int:
        if disk.holds_reserve:
            disk.free_bytes += GIB // 16
            lives.history.reach("reserve file released")
        disk.holds_reserve = False
        return GIB // 16

    return tenure_storage.capacity, {"hold_reserve": hold, "release_reserve": release}


def _server(lives: Lives) -> list[tuple[Any, dict[str, Any]]]:
    seed, loop = lives.plan.seed, lives.loop
    random, ids = rng_of(seed, "jitter"), rng_of(seed, "server ids")
    nothing = SimpleNamespace(collect=lambda: 0, freeze=lambda: None, set_threshold=lambda *_: None)
    rows = lives.plan.slice_rows
    us = {"mono_us": lambda: loop.now_us}
    return [
        (tenure_server.pump, us),
        (tenure_server.heartbeat, us),
        (tenure_server.engine.core, {"SETTLED_KEPT": lives.plan.settled_kept}),
        (lanes, {"REFILL_ROWS_MAX": rows, "MATURE_ROWS_MAX": rows}),
        (sweeps, {"SLICE_ROWS": rows, "ENTRY_ROWS": rows}),
        (settle, {"EXPIRED_PER_TICK": rows}),
        (inspect, {"SCAN_ROWS_MAX": rows}),
        (dead, {"SCAN_ROWS_MAX": rows}),
        (recovery, {"PAGE_ROWS": rows}),
        (tenure_server.capacity_watch, {"disk_free_bytes": lambda _: lives.disk.free_bytes}),
        (
            tenure_server.broker,
            {
                "clock": SimpleNamespace(now=lives.clock, CLOCK_CUT_MS=CLOCK_CUT_MS),
                "random": SimpleNamespace(random=random.random),
                "os": SimpleNamespace(urandom=ids.randbytes, getpid=lambda: 1),
                "gc": nothing,
                "serve": lives.serve,
                "address_of": lambda _: Address("127.0.0.1", 7733),
                "connections_within_files": lambda wanted: wanted,
            },
        ),
    ]


def _client(lives: Lives) -> list[tuple[Any, dict[str, Any]]]:
    seed, loop = lives.plan.seed, lives.loop
    random, ids = rng_of(seed, "dialers"), rng_of(seed, "client ids")
    mono = {"mono_ms": lambda: loop.now_ms}
    wall = {"wall_ms": lives.client_wall_ms}
    return [
        (
            tenure.settings,
            {
                "random": SimpleNamespace(random=random.random),
                "os": SimpleNamespace(urandom=ids.randbytes, environ={}, getuid=os.getuid),
                **mono,
                **wall,
            },
        ),
        (tenure.aio_link, mono),
        (tenure.aio, wall),
    ]
