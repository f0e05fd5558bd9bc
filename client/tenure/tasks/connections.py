"""Where apps get their clients from: their own connections, or what a test kit puts in place."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from tenure.client import Client
from tenure.codecs import CodecName
from tenure.forks import begin_anew_after_fork
from tenure_protocol.limits import CLIENT_NAME_CHARS_MAX

if TYPE_CHECKING:
    from tenure.aio import AsyncClient
    from tenure.tasks.app import App


class Source(Protocol):
    """Gives every app of the process its clients; `eager`: tasks run where they are enqueued."""

    @property
    def eager(self) -> bool:
        """Whether `enqueue` runs the task at once instead of sending it."""
        ...

    def client(self, app: App, /) -> Client:
        """The client for programs that block."""
        ...

    async def aclient(self, app: App, /) -> AsyncClient:
        """The client for the running event loop."""
        ...


_source: Source | None = None


def source() -> Source | None:
    """What replaces the apps' own connections now, if anything does."""
    return _source


@contextmanager
def using(replacement: Source) -> Iterator[None]:
    """Within the block every app of the process gets its clients from `replacement`."""
    global _source
    before, _source = _source, replacement
    try:
        yield
    finally:
        _source = before


class Connections:
    """The clients of one app: one for all threads, one for each event loop."""

    def __init__(
        self, url: str | None, name: str | None, codec: CodecName, compress_over: int | bool
    ) -> None:
        self._url = url
        self._name = name
        self._codec: CodecName = codec
        self._compress_over = compress_over
        self._client: Client | None = None
        self._start()
        begin_anew_after_fork(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        # By the loop itself: the number of a dead loop may become another's.
        self._aclients: dict[Any, AsyncClient] = {}

    def forked(self) -> None:
        """In a child of a fork: its threads share a client, which begins anew; no loop runs on."""
        self._start()

    def client(self) -> Client:
        """The client for programs that block; made at its first use."""
        client = self._client
        if client is None:
            with self._lock:
                client = self._client
                if client is None:
                    client = self._client = Client(
                        self._url,
                        name=self._client_name(),
                        codec=self._codec,
                        compress_over=self._compress_over,
                    )
        return client

    def aclient(self) -> AsyncClient:
        """The client of the running event loop; made at its first use."""
        from asyncio import get_running_loop

        from tenure.aio import AsyncClient

        loop = get_running_loop()
        with self._lock:
            client = self._aclients.get(loop)
            if client is None:
                self._aclients = {k: v for k, v in self._aclients.items() if not k.is_closed()}
                client = AsyncClient(
                    self._url,
                    name=self._client_name(),
                    codec=self._codec,
                    compress_over=self._compress_over,
                )
                self._aclients[loop] = client
        return client

    def _client_name(self) -> str | None:
        if self._name is None:
            return None
        return f"{self._name}@{socket.gethostname()}/{os.getpid()}"[-CLIENT_NAME_CHARS_MAX:]

    def close(self) -> None:
        """Close the client for programs that block."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the client of the running event loop."""
        from asyncio import get_running_loop

        with self._lock:
            client = self._aclients.pop(get_running_loop(), None)
        if client is not None:
            await client.close()
