"""A worker is heard of: now and then, soon when jobs come and go, at once when told."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from tenure.core.greeting import server_info
from tenure.info import ServerInfo
from tenure.worker import registry
from tenure.worker.registry import Registry

HOUR_MS = 3_600_000


class Broker:
    """Takes what is said; `heard` is how often each operation came."""

    def __init__(self) -> None:
        self.heard: dict[str, int] = {}
        self.beaten = asyncio.Event()
        self.server: ServerInfo = server_info({
            "server": "tenure test", "protocol": 1, "session": b"12345678", "resumed": False,
            "features": ["workers"], "idle_timeout_ms": 90_000, "now_ms": 0,
            "limits": {"frame_bytes_max": 1 << 24, "payload_bytes_max": 1 << 20,
                       "jobs_per_request_max": 1000, "result_bytes_max": 1 << 20,
                       "wait_ms_max": HOUR_MS},
        })  # fmt: skip

    async def call(self, command: Any) -> Any:
        self.heard[command.op] = self.heard.get(command.op, 0) + 1
        if command.op == "worker.beat":
            self.beaten.set()
        return "w1"

    async def next_beat(self) -> None:
        self.beaten.clear()
        async with asyncio.timeout(20):
            await self.beaten.wait()


async def run(broker: Broker, what: Any) -> None:
    told = Registry(cast(Any, broker), dict, dict)
    running = asyncio.create_task(told.run())
    try:
        await broker.next_beat()
        await what(told)
    finally:
        running.cancel()


async def test_it_registers_once_and_beats_at_once_when_poked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "STIR_MS", HOUR_MS)
    broker = Broker()

    async def poke(told: Registry) -> None:
        for _ in range(3):
            told.poke()
            await broker.next_beat()

    await run(broker, poke)
    assert broker.heard == {"worker.register": 1, "worker.beat": 4}


async def test_it_beats_soon_when_jobs_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "STIR_MS", 1)
    monkeypatch.setattr(registry, "BEAT_MS", HOUR_MS)
    broker = Broker()

    async def stir(told: Registry) -> None:
        for _ in range(3):
            told.stir()
            await broker.next_beat()

    await run(broker, stir)
    assert broker.heard["worker.beat"] == 4
