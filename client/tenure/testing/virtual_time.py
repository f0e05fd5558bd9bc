"""Time that stands still until a test moves it, and the event loop that lives in it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

MONO_MS_AT_START = 1_000_000
"""What the monotonic clock shows first; only its distances matter."""

_CALLBACKS_MAX = 1_000_000


class Timer:
    """A callback that is due later."""

    __slots__ = ("at_ms", "call")

    def __init__(self, at_ms: int, call: Callable[[], object]) -> None:
        self.at_ms = at_ms
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """It will not be called."""
        self.call = None


class VirtualLoop:
    """As much of an asyncio event loop as the broker's pump needs, run by hand."""

    def __init__(self, wall_ms: int) -> None:
        self.wall_ms = wall_ms
        self.mono_ms = MONO_MS_AT_START
        self._ready: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[int, int, Timer]] = []
        self._order = count()

    def call_soon(self, call: Callable[..., object], *args: Any) -> None:
        """`call` is called in this `run`, or the next."""
        self._ready.append(lambda: call(*args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay_s: float, call: Callable[..., object], *args: Any) -> Timer:
        """`call` is called once the time has been moved that far."""
        timer = Timer(self.mono_ms + max(0, round(delay_s * 1000)), lambda: call(*args))
        heapq.heappush(self._timers, (timer.at_ms, next(self._order), timer))
        return timer

    @property
    def next_ms(self) -> int | None:
        """When the next timer is due, in monotonic milliseconds."""
        while self._timers and self._timers[0][2].call is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def run(self) -> bool:
        """Call what is ready and what is due, until nothing is; whether there was anything."""
        for number in range(_CALLBACKS_MAX):
            due = self.next_ms
            if self._ready:
                self._ready.popleft()()
            elif due is not None and due <= self.mono_ms:
                timer = heapq.heappop(self._timers)[2]
                if timer.call is not None:
                    timer.call()
            else:
                return number > 0
        raise RuntimeError(f"the broker found no rest in {_CALLBACKS_MAX} turns")

    def move_to(self, mono_ms: int) -> None:
        """Move both clocks forward; nothing is called yet."""
        passed_ms = max(0, mono_ms - self.mono_ms)
        self.mono_ms += passed_ms
        self.wall_ms += passed_ms

    def clear(self) -> None:
        """Forget everything that was to be called."""
        self._ready.clear()
        self._timers.clear()
