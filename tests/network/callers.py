"""The two clients called the same way, and what they leave behind when they are closed."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Literal, Protocol

from tenure import AsyncClient, Client

Kind = Literal["sync", "async"]

CALL_S_MAX = 120.0
"""After so long a call of the asyncio client counts as hanging, whatever its timeout."""


class Caller(Protocol):
    """A client that any number of threads may call."""

    def call(self, method: str, /, *args: Any, **options: Any) -> Any:
        """What the client's method returns or raises."""
        ...

    def cut_short(self, seconds: float, method: str, /, *args: Any, **options: Any) -> Any:
        """The same, but the caller gives up after `seconds`, by `TimeoutError`."""
        ...

    def close(self) -> int:
        """Close it. Returns how many of its tasks still run."""
        ...


class OpenCaller:
    """A `Client`. Nobody can give up waiting for one, so `cut_short` waits to the end."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def call(self, method: str, /, *args: Any, **options: Any) -> Any:
        """See `Caller`."""
        return getattr(self.client, method)(*args, **options)

    def cut_short(self, seconds: float, method: str, /, *args: Any, **options: Any) -> Any:
        """See `Caller`."""
        del seconds
        return self.call(method, *args, **options)

    def close(self) -> int:
        """See `Caller`."""
        self.client.close()
        return 0


class AsyncCaller:
    """An `AsyncClient` on an event loop in a thread of its own."""

    def __init__(self, url: str, *, uvloop: bool = False, **options: Any) -> None:
        self.loop = _new_loop(uvloop)
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="async-caller", daemon=True
        )
        self._thread.start()
        self.client = AsyncClient(url, **options)

    def call(self, method: str, /, *args: Any, **options: Any) -> Any:
        """See `Caller`."""
        work = getattr(self.client, method)(*args, **options)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(CALL_S_MAX)

    def cut_short(self, seconds: float, method: str, /, *args: Any, **options: Any) -> Any:
        """See `Caller`."""
        work = asyncio.wait_for(getattr(self.client, method)(*args, **options), seconds)
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(CALL_S_MAX)

    def close(self) -> int:
        """See `Caller`."""

        async def close() -> int:
            await self.client.close()
            await asyncio.sleep(0)  # whoever was told of the end takes notice
            return len(asyncio.all_tasks()) - 1

        left = asyncio.run_coroutine_threadsafe(close(), self.loop).result(CALL_S_MAX)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CALL_S_MAX)
        self.loop.close()
        return left


def _new_loop(uvloop: bool) -> asyncio.AbstractEventLoop:
    if not uvloop:
        return asyncio.new_event_loop()
    import uvloop as fast

    loop: asyncio.AbstractEventLoop = fast.new_event_loop()
    return loop


def open_for_good() -> None:
    """Open what the process keeps: libuv makes a pipe for signals with its first loop."""
    _new_loop(uvloop=True).close()


def caller_of(kind: Kind, url: str, *, uvloop: bool = False, **options: Any) -> Caller:
    """A caller of that kind."""
    if kind == "sync":
        return OpenCaller(Client(url, **options))
    return AsyncCaller(url, uvloop=uvloop, **options)
