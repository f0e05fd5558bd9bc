"""A TCP proxy between clients and a broker that makes bad weather, in a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, TypeVar

from tenure.address import addresses_of
from tests.network.conduit import Conduit, Ending, Sky
from tests.network.weather import FAIR, Cut, Door, Step, Weather

T = TypeVar("T")

SECONDS_MAX = 60.0
"""How long the proxy's thread may take to do what it is told."""

_BACKLOG = 1_024
_REBIND_S = 0.01


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and carries connections to the broker at `url`.

    The weather can be changed at any time from any thread; a plan changes it by itself.
    `faults` counts what was done to connections. Leaving the `with` block ends them all.
    """

    def __init__(self, url: str, seed: int = 0) -> None:
        [self._target] = addresses_of(url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="fault-proxy", daemon=True
        )
        self._conduits: set[Conduit] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._kept: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._seed = seed
        self.accepted = 0
        """How many connections came to an open port."""
        self.port = 0

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"tenure://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections pass, or passed until they became half-open."""
        return len(self._conduits)

    @property
    def faults(self) -> Counter[str]:
        """What was done so far, by kind."""
        return Counter(self._sky.faults)

    def change(self, weather: Weather) -> None:
        """Another weather, for connections old and new; returns when it holds."""
        self._do(lambda: self._change(weather))

    def cut_all(self, how: Ending = "reset") -> None:
        """End all connections at once."""
        self._do(lambda: self._cut_all(how))

    def cut_next(self, *cuts: Cut) -> None:
        """The next requests, one after another, meet these cuts."""
        self._do(lambda: self._sky.next_cuts.extend(cuts))

    def silence_all(self) -> None:
        """All connections of now become half-open; new ones are served."""

        def silence() -> None:
            for conduit in self._conduits:
                self._sky.faults["silenced"] += 1
                conduit.silence()

        self._do(silence)

    def play(self, steps: Sequence[Step]) -> concurrent.futures.Future[None]:
        """Let a plan happen, and then fair weather. The result says when it is over.

        When this returns, it has begun.
        """
        begun = threading.Event()
        over = asyncio.run_coroutine_threadsafe(self._play(steps, begun), self._loop)
        begun.wait(SECONDS_MAX)
        return over

    # -- its thread -------------------------------------------------------------------------

    def _do(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(SECONDS_MAX)

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(SECONDS_MAX)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(SECONDS_MAX)
        self._loop.close()

    def _begin(self) -> None:
        self._sky = Sky(self._seed)
        self._listen()

    async def _close(self) -> None:
        self._stop_listening()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in self._kept:
            each.close()

    async def _play(self, steps: Sequence[Step], begun: threading.Event) -> None:
        for step in steps:
            self._change(step.weather)
            if step.cut_all:
                self._cut_all("reset")
            begun.set()
            await asyncio.sleep(step.seconds)
        self._change(FAIR)
        begun.set()

    def _change(self, weather: Weather) -> None:
        before = self._sky.weather
        self._sky.change(weather)
        for name, old, new in (("up", before.up, weather.up), ("down", before.down, weather.down)):
            if new.stalled and not old.stalled:
                self._sky.faults[f"stalled {name}"] += 1
            if new.delay_s or new.bytes_per_s:
                self._sky.faults[f"slow {name}"] += 1
        if weather.door == "refuse":
            self._sky.faults["door: refuse"] += before.door != "refuse"
            self._stop_listening()
        elif self._listener is None:
            self._listen()

    def _cut_all(self, how: Ending) -> None:
        for conduit in self._conduits:
            if not conduit.silent:
                self._sky.faults["connections cut"] += 1
                conduit.cut(how)

    # -- the port ---------------------------------------------------------------------------

    def _listen(self) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        try:
            listener.bind(("127.0.0.1", self.port))
            listener.listen(_BACKLOG)
        except OSError:
            # A connection of somebody else has the port for the moment.
            listener.close()
            self._loop.call_later(_REBIND_S, self._change, self._sky.weather)
            return
        self.port = listener.getsockname()[1]
        self._listener = listener
        self._accepting = self._spawn(self._accept(listener))

    def _stop_listening(self) -> None:
        if self._accepting is not None:
            self._accepting.cancel()
            self._accepting = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            near, _ = await self._loop.sock_accept(listener)
            near.setblocking(False)
            self.accepted += 1
            if self._admitted(near, self._sky.weather.door):
                near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._spawn(self._serve(near))

    def _admitted(self, near: socket.socket, door: Door) -> bool:
        if door == "open":
            return True
        self._sky.faults[f"door: {door}"] += 1
        if door == "deaf":
            self._kept.append(near)
            return False
        if door == "reset":
            near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        near.close()
        return False

    async def _serve(self, near: socket.socket) -> None:
        far = socket.socket()
        far.setblocking(False)
        try:
            far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.sock_connect(far, self._target)
        except (OSError, asyncio.CancelledError):
            near.close()
            far.close()
            return
        conduit = Conduit(self._sky, near, far)
        self._conduits.add(conduit)
        try:
            with suppress(asyncio.CancelledError):
                await conduit.run()
        finally:
            self._conduits.discard(conduit)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
