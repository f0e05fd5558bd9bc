"""An asyncio event loop without a clock and without sockets: time jumps to what is next."""

from __future__ import annotations

import asyncio
import heapq
import math
import random
from collections.abc import Callable
from typing import Any, Protocol

from tests.sim.ends import CrashError

TURNS_MAX = 20_000_000
"""More turns than any history needs: one that spins is stopped here."""


class SpinningError(RuntimeError):
    """The system went on and on without time passing."""


class Dial(Protocol):
    """How connections are made on this loop."""

    async def __call__(self, factory: Callable[[], asyncio.BaseProtocol], host: str) -> Any:
        """Connect; the transport and the protocol."""
        ...


class SimLoop(asyncio.BaseEventLoop):
    """Virtual time, begun at 1,000 s. Everything that runs on it is in one order per seed."""

    def __init__(self, rng: random.Random, *, shuffle: bool) -> None:
        super().__init__()
        self._now_us = 1_000_000_000
        self._rng = rng
        self._shuffle = shuffle
        self._moved_at = 0
        self.dial: Dial | None = None
        self.turns = 0
        self.troubles: list[dict[str, Any]] = []
        """What callbacks raised and nobody caught."""

    # ---- time ----------------------------------------------------------------------------

    def time(self) -> float:
        """Seconds."""
        return self._now_us / 1_000_000

    @property
    def now_us(self) -> int:
        """Microseconds."""
        return self._now_us

    @property
    def now_ms(self) -> int:
        """Milliseconds, as the product's clocks show them."""
        return self._now_us // 1000

    def skip(self, ms: int) -> None:
        """The whole machine stands still for so long: everything due meanwhile is late."""
        self.stand_still(ms * 1000)

    def stand_still(self, us: int) -> None:
        """Whoever runs now takes so long, and nobody else runs meanwhile."""
        self._now_us += us

    # ---- what asyncio asks of a loop -----------------------------------------------------

    def _run_once(self) -> None:
        inner: Any = self
        scheduled, ready = inner._scheduled, inner._ready
        while scheduled and scheduled[0]._cancelled:
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise SpinningError("nothing is to come, and the history has not ended")
            due_us = math.ceil(scheduled[0]._when * 1_000_000 - 0.001)
            self._now_us = max(self._now_us, due_us)
        now_s = self.time() + 1e-9
        while scheduled and scheduled[0]._when <= now_s:
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            ready.append(handle)
        self.turns += 1
        if self.turns > TURNS_MAX:
            raise SpinningError(f"no end after {TURNS_MAX} turns")
        count = len(ready)
        if self._shuffle and count > 1 and self._rng.random() < 0.3:
            waiting = list(ready)
            ready.clear()
            self._rng.shuffle(waiting)
            ready.extend(waiting)
        for _ in range(count):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()

    def _process_events(self, event_list: Any) -> None:
        return

    def _write_to_self(self) -> None:
        return

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Kept for the verdict: in a simulation nothing may be raised unseen."""
        if not isinstance(context.get("exception"), CrashError):
            self.troubles.append(context)

    def troubles_now(self) -> list[dict[str, Any]]:
        """What was raised so far."""
        return self.troubles

    def add_signal_handler(self, *_: Any) -> None:  # type: ignore[override]
        """There are no signals here."""

    def remove_signal_handler(self, sig: int) -> bool:
        """There are no signals here."""
        return False

    async def create_connection(
        self, protocol_factory: Callable[[], Any], host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        """A connection to the broker of this world."""
        assert self.dial is not None
        return await self.dial(protocol_factory, str(host))
