"""uvicorn inside our loop: our sockets, our signals, and no way to take the broker down with it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tenure_server.hub import Hub
from tenure_server.log import get_log

if TYPE_CHECKING:
    import uvicorn

STOP_S = 1.0


class HttpServer:
    """The HTTP side of a broker. If it breaks, that is logged, and the broker goes on."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._server: uvicorn.Server | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self, sockets: list[socket.socket]) -> None:
        """Serves on `sockets` from now on."""
        # Half a second of imports, which the loop need not wait for.
        self._server = server = await asyncio.to_thread(_build, self._hub)
        self._task = asyncio.create_task(server.serve(sockets=sockets), name="http")
        self._task.add_done_callback(_report)

    async def stop(self) -> None:
        """Closes it; requests at work get a second."""
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await asyncio.wait([self._task], timeout=2 * STOP_S)
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_S)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        get_log().error("http_failed", error=repr(error), consequence="the broker works without")


def _build(hub: Hub) -> uvicorn.Server:
    import uvicorn

    from tenure_server.http.app import build_app
    from tenure_server.http.bounded import CONNECTIONS_MAX, BoundedHttp

    class OurServer(uvicorn.Server):
        """uvicorn that leaves the process's signals alone."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            """uvicorn would replace our handlers of SIGTERM and SIGINT here."""
            yield

    config = uvicorn.Config(
        build_app(hub),
        loop="none",
        http=BoundedHttp,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS_MAX + 1,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=int(STOP_S),
    )
    return OurServer(config)
