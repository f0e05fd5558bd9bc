"""A broker's life: wired, started, told to stop, stopped.

start ─► serving ─ stop ─► draining: answer, commit ─► closing connections ─► exit 0
            └─ a commit failed ─► latched: nobody is answered ─► exit 74
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from collections.abc import Callable
from typing import Any

from tenure_server import clock, exits
from tenure_server.assembly import assemble
from tenure_server.config import Config
from tenure_server.config_load import Loaded
from tenure_server.diagnosis import dump
from tenure_server.heartbeat import Heartbeat
from tenure_server.http.server import HttpServer
from tenure_server.listener import address_of, connections_within_files, serve
from tenure_server.log import get_log
from tenure_server.notify import notify
from tenure_server.operations import SERVER
from tenure_server.port_file import remove_port_file, write_port_file
from tenure_server.reload import reload
from tenure_storage.store import Store

SETTLE_POLL_S = 0.005
FAREWELL_S = 1.0
"""How long a stopping broker waits for its clients to close their ends."""


class Broker:
    """One running broker. `run` returns the exit code."""

    def __init__(
        self,
        config: Config,
        store: Store,
        *,
        sockets: list[socket.socket],
        http_sockets: list[socket.socket],
        load: Callable[[], Loaded] | None,
    ) -> None:
        self._sockets = sockets
        self._http_sockets = http_sockets
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._end: asyncio.Future[int] = self._loop.create_future()
        self._fault = exits.OK
        self._servers: list[asyncio.Server] = []
        self.ready = asyncio.Event()
        """Set once clients are served and the world was told."""
        self.hub = hub = assemble(
            config,
            store,
            clock=clock.now,
            clock_cut_ms=clock.CLOCK_CUT_MS,
            random=random.random,
            new_id=os.urandom,
            loop=self._loop,
            on_fault=self._on_fault,
        )
        hub.connections_max = connections_within_files(config.limits.connections)
        self._heartbeat = Heartbeat(hub)
        self._http = HttpServer(hub)

    async def run(self) -> int:
        """Serves until it is told to stop or has to; the exit code."""
        self._loop.set_exception_handler(self._on_loop_exception)
        try:
            await self._start()
            code = await self._end
            return await self._stop() if code == exits.OK else await self._give_up(code)
        finally:
            self._heartbeat.stop()
            port_file = self.hub.config.port_file
            if port_file is not None:
                remove_port_file(port_file)

    # ---- start -------------------------------------------------------------------------

    async def _start(self) -> None:
        hub = self.hub
        config = hub.config
        hub.capacity.check(hub.clock().mono_ms)
        hub.pump.wake()
        self._servers = await serve(hub, self._sockets)
        self._heartbeat.start()
        if self._http_sockets:
            await self._http.start(self._http_sockets)
        listen = address_of(self._sockets[0])
        http = address_of(self._http_sockets[0]) if self._http_sockets else None
        # What exists now lives as long as the process: the collector need not look at it again,
        # and new objects are mostly freed by their counts.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        if config.port_file is not None:
            write_port_file(config.port_file, listen, http)
        get_log().info(
            "ready",
            server=SERVER,
            listen=str(listen),
            http=str(http or "off"),
            data_dir="none: nothing survives a stop" if config.ephemeral else str(config.data_dir),
            queues=hub.engine.stats(hub.clock()).get("queues"),
            leases=hub.engine.lease_count,
            pid=os.getpid(),
        )
        notify(f"READY=1\nSTATUS=listening on {listen}")
        self.ready.set()

    # ---- what ends it ------------------------------------------------------------------

    def stop(self) -> None:
        """Asks it to stop gracefully."""
        self._finish(exits.OK)

    def reload(self) -> None:
        """Reads the settings again, if it knows from where."""
        if self._load is not None:
            reload(self.hub, self._load)

    def dump(self) -> None:
        """Logs what every thread does, and the figures."""
        dump(self.hub)

    def _on_fault(self, error: BaseException, in_store: bool) -> None:
        self._fault = exits.IO_ERROR if in_store else exits.INTERNAL
        try:
            # The end first: when memory is what is missing, telling of it may fail too.
            self._finish(self._fault)
            self._tell_fault(error, in_store)
        except MemoryError:
            # Nobody is answered any more; a process that stayed would only look alive.
            os._exit(self._fault)

    def _tell_fault(self, error: BaseException, in_store: bool) -> None:
        if in_store:
            get_log().error(
                "commit_failed",
                error=f"{type(error).__name__}: {error}",
                consequence="nobody is answered; the next start recovers what is durable",
            )
        else:
            get_log().error("internal_fault", error=repr(error), exc_info=error)

    def _finish(self, code: int) -> None:
        if not self._end.done():
            self._end.set_result(code)

    def _on_loop_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        # Faults of the engine and of connections end the broker where they are caught; what
        # arrives here comes from sockets and libraries, and harms nobody else.
        self.hub.log_limited(
            "error",
            "loop_exception",
            message=str(context.get("message")),
            error=repr(context.get("exception")),
        )

    # ---- stop --------------------------------------------------------------------------

    async def _stop(self) -> int:
        hub = self.hub
        hub.stopping = True
        ends = self._loop.time() + hub.timeouts.stop_ms / 1000
        for server in self._servers:
            server.close()
        hub.engine.set_draining(True, hub.clock())
        hub.workers.stop()
        for connection in list(hub.connections):
            connection.notice("draining", {})
        settled = await self._settle(ends)
        if hub.pump.latched:
            return await self._give_up(self._fault)
        await self._farewell(ends)
        hub.pump.stop()
        await self._http.stop()
        get_log().info("stopped", clean=settled, commits=hub.counters.batches)
        return exits.OK if settled else exits.UNCLEAN

    async def _settle(self, ends: float) -> bool:
        """Waits until everything asked is committed, answered and sent; whether that came in time."""
        hub = self.hub
        while not hub.pump.latched:
            left = ends - self._loop.time()
            try:
                await asyncio.wait_for(hub.pump.drained(), max(left, 0))
            except TimeoutError:
                # Clients that do not take their answers are left behind; a commit is not.
                return not hub.pump.committing
            if not hub.backups.busy and all(each.quiet for each in list(hub.connections)):
                return True
            await asyncio.sleep(SETTLE_POLL_S)
        return False

    async def _farewell(self, ends: float) -> None:
        hub = self.hub
        for connection in list(hub.connections):
            connection.half_close()
        until = min(ends, self._loop.time() + FAREWELL_S)
        while hub.lingering and self._loop.time() < until:  # noqa: ASYNC110 (for a second, once)
            await asyncio.sleep(SETTLE_POLL_S)
        for connection in list(hub.lingering):
            connection.transport.abort()

    async def _give_up(self, code: int) -> int:
        """After a fault: no more answers, connections are cut, the process ends."""
        hub = self.hub
        hub.stopping = True
        notify("STOPPING=1")
        for server in self._servers:
            server.close()
        for connection in [*hub.connections, *hub.lingering]:
            connection.transport.abort()
        await self._http.stop()
        return code
