"""Calls at a later time, from a thread of their own: nothing a job does can hold them up."""

from __future__ import annotations

import heapq
import logging
import os
import threading
from collections.abc import Callable
from itertools import count
from time import monotonic

_STALE_MIN = 64

_logger = logging.getLogger("tenure.child")


class Alarm:
    """A call to come. `cancel` takes it back, if it has not begun."""

    __slots__ = ("_alarms", "call")

    def __init__(self, alarms: Alarms, call: Callable[[], None]) -> None:
        self._alarms = alarms
        self.call: Callable[[], None] | None = call

    def cancel(self) -> None:
        """Do not call."""
        if self.call is not None:
            self.call = None
            self._alarms.cancelled()


class Alarms:
    """Alarms of a process. The thread begins with the first one, and sleeps until the next."""

    def __init__(self) -> None:
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all; in the child of a fork there is no thread."""
        self._changed = threading.Condition()
        self._heap: list[tuple[float, int, Alarm]] = []
        self._numbers = count()
        self._stale = 0
        self._begun = False

    def after(self, seconds: float, call: Callable[[], None]) -> Alarm:
        """Call `call` in `seconds`, in the alarms' thread. It must be quick and not raise."""
        alarm = Alarm(self, call)
        due = monotonic() + seconds
        with self._changed:
            heapq.heappush(self._heap, (due, next(self._numbers), alarm))
            if not self._begun:
                self._begun = True
                threading.Thread(target=self._run, name="tenure-alarms", daemon=True).start()
            elif self._heap[0][2] is alarm:
                self._changed.notify()
        return alarm

    def cancelled(self) -> None:
        """An alarm was taken back: now and then such alarms are swept out."""
        with self._changed:
            self._stale += 1
            if self._stale > max(_STALE_MIN, len(self._heap) // 2):
                self._heap = [item for item in self._heap if item[2].call is not None]
                heapq.heapify(self._heap)
                self._stale = 0

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._heap:
                    self._changed.wait()
                left = self._heap[0][0] - monotonic()
                if left > 0:
                    self._changed.wait(left)
                    continue
                alarm = heapq.heappop(self._heap)[2]
                call, alarm.call = alarm.call, None
            if call is not None:
                try:
                    call()
                except Exception:
                    # All other limits and messages of this process wait for this thread.
                    _logger.exception("an alarm failed")


alarms = Alarms()
"""Those of this process."""

os.register_at_fork(after_in_child=alarms.begin_anew)
