"""The worker as the broker shows it: registered on each connection, and heard of since."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from tenure.core import fleet
from tenure.errors import ClientClosed, TenureError, WorkerNotFound
from tenure.info import ServerInfo
from tenure.settings import mono_ms
from tenure.worker.settle import Link

BEAT_MS = 10_000
"""How often a worker tells how it is."""

STIR_MS = 1_000
"""The same while jobs come and go."""

FRESH_MS = 3 * BEAT_MS
"""A broker that answered within this time counts as there."""


class Registry:
    """Registers, and beats every ten seconds, every second with jobs, and when it is poked."""

    def __init__(
        self, link: Link, who: Callable[[], dict[str, Any]], how: Callable[[], dict[str, Any]]
    ) -> None:
        self.id: str | None = None
        """The short id that the broker gave."""
        self.answered_ms = 0
        """When the broker last answered."""
        self._link = link
        self._who = who
        self._how = how
        self._server: ServerInfo | None = None
        self._poked = asyncio.Event()
        self._stirred = asyncio.Event()

    def poke(self) -> None:
        """Something changed that people should see now."""
        self._poked.set()
        self._stirred.set()

    def stir(self) -> None:
        """Something changed that people should see soon."""
        self._stirred.set()

    async def run(self) -> None:
        """Beat until it is cancelled."""
        while True:
            self._poked.clear()
            self._stirred.clear()
            try:
                await self._beat()
            except ClientClosed:
                return
            except (TenureError, OSError):
                self._server = None
            if not await _within(STIR_MS, self._poked):
                await _within(BEAT_MS - STIR_MS, self._stirred)

    async def _beat(self) -> None:
        server = self._link.server
        if server is None:
            return
        if "workers" in server.features:
            if server is not self._server:
                await self._register(server)
            try:
                await self._link.call(fleet.beat(self._how()))
            except WorkerNotFound:
                self._server = None
                self.poke()
        else:
            from tenure.core.call import PING

            await self._link.call(PING)
        self.answered_ms = mono_ms()

    async def _register(self, server: ServerInfo) -> None:
        self.id = await self._link.call(fleet.register(self._who()))
        self._server = server


async def _within(wait_ms: int, event: asyncio.Event) -> bool:
    """Wait for an event, but not longer; whether it came."""
    try:
        await asyncio.wait_for(event.wait(), wait_ms / 1000)
    except TimeoutError:
        return False
    return True
