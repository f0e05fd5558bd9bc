"""The parts of one broker, put together: everything between a client's bytes and the store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenure_server.backups import Backups
from tenure_server.capacity_watch import CapacityWatch
from tenure_server.config import Config
from tenure_server.counters import Counters
from tenure_server.engine import Engine, Now
from tenure_server.engine_settings import engine_limits
from tenure_server.hub import Hub
from tenure_server.pump import Pump
from tenure_server.workers import Workers
from tenure_storage.memory_store import MemoryStore
from tenure_storage.store import Store


def assemble(
    config: Config,
    store: Store,
    *,
    clock: Callable[[], Now],
    random: Callable[[], float],
    new_id: Callable[[int], bytes],
    loop: asyncio.AbstractEventLoop,
    on_fault: Callable[[BaseException, bool], None],
    clock_cut_ms: int = 0,
) -> Hub:
    """A hub with its engine and pump, ready for connections. It lives on `loop` and `clock`,
    whose moments may be cut by up to `clock_cut_ms`."""
    engine = Engine(
        store,
        limits=engine_limits(config),
        now=clock(),
        random=random,
        new_id=new_id,
        volatile=MemoryStore(),
        clock_cut_ms=clock_cut_ms,
    )
    hub = Hub(config, engine, Counters(), clock)
    hub.pump = Pump(hub, store, on_fault, loop)
    hub.capacity = CapacityWatch(hub, store)
    hub.backups = Backups(hub, store)
    hub.workers = Workers(loop, new_id, hub.pump.wake)
    return hub
