"""One way to speak to both clients, so that a test is written once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tenure import AsyncClient, Client

SECONDS_MAX = 30.0


class AsyncDriver:
    """An `AsyncClient` on a loop in another thread, called as if it would block."""

    def __init__(self, url: str, **options: Any) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()
        self.client = AsyncClient(url, **options)

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.client, name)
        if not asyncio.iscoroutinefunction(member):
            return member

        def call(*args: Any, **options: Any) -> Any:
            running = asyncio.run_coroutine_threadsafe(member(*args, **options), self.loop)
            return running.result(SECONDS_MAX)

        return call

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        try:
            self.__getattr__("close")()
        finally:
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(SECONDS_MAX)
            self.loop.close()


Connect = Callable[..., Any]
"""Makes a client of either kind: `connect(url, **options)`, to be used in a `with`."""

CONNECTORS: dict[str, Connect] = {"Client": Client, "AsyncClient": AsyncDriver}


class InThread:
    """A call that runs in a thread of its own; `result` waits for it and raises what it raised."""

    def __init__(self, function: Callable[..., Any], *args: Any, **options: Any) -> None:
        self._value: Any = None
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._value = function(*args, **options)
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def result(self) -> Any:
        self._thread.join(SECONDS_MAX)
        assert not self._thread.is_alive(), "the call hangs"
        if self._error is not None:
            raise self._error
        return self._value
