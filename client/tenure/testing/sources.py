"""Where the apps of a test get their clients from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from tenure.client import Client, client_over
from tenure.codecs import CodecName
from tenure.info import JobInfo
from tenure.settings import Settings, settings_of
from tenure.testing.inprocess import InProcessBroker
from tenure.testing.links import AsyncLoopbackLink, LoopbackLink
from tenure_protocol.durations import Duration

if TYPE_CHECKING:
    from tenure.aio import AsyncClient
    from tenure.tasks.app import App

HINT = (
    "virtual time is over, and nobody ran the job: call run_until_idle() of the fixture first"
    " (advance() for a job that is due later)"
)
"""What a test is told that waits for a job nobody runs."""


def loopback_settings(name: str, codec: CodecName = "msgpack") -> Settings:
    """The settings of a client inside this process."""
    return settings_of(
        "tenure://in-process",
        name=name,
        codec=codec,
        timeout="30s",
        connect_timeout="5s",
        reconnect=True,
        compress_over=False,
    )


class LoopbackSource:
    """Clients of the broker in this process: one for each app, and one for each of its loops."""

    eager = False

    def __init__(self, broker: InProcessBroker) -> None:
        self._broker = broker
        self.apps: dict[App, None] = {}
        """Every app that was met, in that order."""
        self._clients: dict[App, Client] = {}
        self._aclients: dict[tuple[App, asyncio.AbstractEventLoop], AsyncClient] = {}

    def meet(self, app: App) -> None:
        """Know an app: jobs of its tasks can be run."""
        self.apps[app] = None

    def client(self, app: App) -> Client:
        """See `Source`."""
        client = self._clients.get(app)
        if client is None:
            self.meet(app)
            settings = loopback_settings(app.name or "test", app.codec)
            client = client_over(LoopbackLink(self._broker, settings), settings)
            self._clients[app] = _hinting(client)
        return client

    async def aclient(self, app: App) -> AsyncClient:
        """See `Source`."""
        from tenure.aio import async_client_over

        key = (app, asyncio.get_running_loop())
        client = self._aclients.get(key)
        if client is None:
            self.meet(app)
            settings = loopback_settings(app.name or "test", app.codec)
            client = async_client_over(AsyncLoopbackLink(self._broker, settings), settings)
            self._aclients[key] = _ahinting(client)
        return client


def _hinting(client: Client) -> Client:
    plain = client.wait

    def wait(job_id: str, timeout: Duration = "1m") -> JobInfo:
        return _ended(plain(job_id, timeout))

    client.wait = wait  # type: ignore[method-assign]
    return client


def _ahinting(client: AsyncClient) -> AsyncClient:
    plain = client.wait

    async def wait(job_id: str, timeout: Duration = "1m") -> JobInfo:
        return _ended(await plain(job_id, timeout))

    client.wait = wait  # type: ignore[method-assign]
    return client


def _ended(info: JobInfo) -> JobInfo:
    from tenure.errors import ResultTimeout

    if not info.ended:
        raise ResultTimeout(
            f"job {info.id} ({info.task}) is {info.state}: {HINT}", state=info.state
        )
    return info


class ServerSource:
    """Clients of one broker at `url`, whatever the apps say."""

    eager = False

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients: dict[App, Client] = {}
        self._aclients: dict[tuple[App, asyncio.AbstractEventLoop], AsyncClient] = {}
        self._closing: list[tuple[asyncio.AbstractEventLoop, AsyncGenerator[None, None]]] = []

    def client(self, app: App) -> Client:
        """See `Source`."""
        client = self._clients.get(app)
        if client is None:
            client = self._clients[app] = Client(self._url, name=app.name, codec=app.codec)
        return client

    async def aclient(self, app: App) -> AsyncClient:
        """See `Source`."""
        from tenure.aio import AsyncClient

        key = (app, asyncio.get_running_loop())
        client = self._aclients.get(key)
        if client is None:
            client = AsyncClient(self._url, name=app.name, codec=app.codec)
            self._aclients[key] = client
            # The loop may be closed before us; it ends its generators then, and they the clients.
            closing = _closed_at_the_end(client)
            self._closing.append((key[1], closing))
            await anext(closing)
        return client

    def close(self) -> None:
        """Close every client that can still be closed."""
        for client in self._clients.values():
            client.close()
        for loop, closing in self._closing:
            if not loop.is_closed() and not loop.is_running():
                loop.run_until_complete(closing.aclose())


async def _closed_at_the_end(client: AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.close()


class EagerSource:
    """No broker: every task runs where it is enqueued."""

    eager = True

    def client(self, app: App) -> Any:
        """There is none. Raises `RuntimeError`."""
        raise RuntimeError("eager mode has no broker: the job has run where it was enqueued")

    async def aclient(self, app: App) -> Any:
        """There is none. Raises `RuntimeError`."""
        return self.client(app)
