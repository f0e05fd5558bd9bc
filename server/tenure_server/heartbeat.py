"""What happens about once a second: time-outs, the loop's lag, the disk, the service manager's watchdog."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenure_server.clock import mono_us
from tenure_server.config import Timeouts
from tenure_server.hub import Hub
from tenure_server.notify import notify, watchdog_interval_ms
from tenure_server.pump import LATE_MS

INTERVAL_MS = 1_000
INTERVAL_MS_MIN = 10


def interval_ms(timeouts: Timeouts) -> int:
    """How often to look: every second, or oftener if a time-out is shorter than a few."""
    shortest = min(timeouts.handshake_ms, timeouts.idle_ms, timeouts.frame_ms, timeouts.send_ms)
    return max(INTERVAL_MS_MIN, min(INTERVAL_MS, shortest // 3))


class Heartbeat:
    """One timer for all connections: arming one per request or connection would cost more than it tells."""

    def __init__(self, hub: Hub, watchdog: Callable[[str], bool] = notify) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._watchdog = watchdog
        self._watchdog_ms = watchdog_interval_ms()
        self._watchdog_at_ms = 0
        self._expected_us = 0
        self._spared = False
        """Whether the last look did without the time-outs."""
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Beats from now on."""
        self._arm()

    def stop(self) -> None:
        """Beats no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        wait_ms = interval_ms(self._hub.timeouts)
        if self._watchdog_ms:
            wait_ms = min(wait_ms, self._watchdog_ms)
        self._expected_us = mono_us() + wait_ms * 1_000
        self._timer = self._loop.call_later(wait_ms / 1_000, self._beat)

    def _beat(self) -> None:
        try:
            self._look()
        finally:
            # Whatever went wrong with one look, there is a next one.
            self._arm()

    def _look(self) -> None:
        lag_us = max(mono_us() - self._expected_us, 0)
        counters = self._hub.counters
        counters.last_lag_us = lag_us
        counters.lag_us.observe(lag_us)
        now = self._hub.clock()
        now_ms = now.mono_ms
        if lag_us >= LATE_MS * 1000 and not self._spared:
            # What clients sent meanwhile lies in the sockets: nobody is late before it is read.
            self._spared = True
            self._hub.pump.stood_still(now)
        else:
            self._spared = False
            self._hub.sweep(now_ms)
        self._hub.capacity.check(now_ms)
        if self._watchdog_ms and now_ms >= self._watchdog_at_ms:
            self._watchdog_at_ms = now_ms + self._watchdog_ms
            self._watchdog("WATCHDOG=1")
