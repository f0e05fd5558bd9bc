"""Hard limits of running jobs, without a clock: what is due when.

LIMIT ── told to stop ──► FAIL ── told to the broker ──► STUCK ── its process is given up
   at the limit            a second later if it runs on    five seconds after the limit
"""

from __future__ import annotations

from enum import IntEnum
from heapq import heappop, heappush

FAIL_AFTER_MS = 1_000
"""How long a job that was told to stop at its limit may take to say so itself."""

STUCK_AFTER_MS = 5_000
"""How long after its limit a job may run on before its process counts as stuck."""

NEVER_MS = 2**62


class Stage(IntEnum):
    """How far a job is past its hard limit."""

    LIMIT = 0
    FAIL = 1
    STUCK = 2


class Deadlines:
    """When the limits of jobs are reached. A job has one entry at a time."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Stage]] = []
        self._armed: dict[int, tuple[int, Stage]] = {}

    def __len__(self) -> int:
        return len(self._armed)

    def arm(self, key: int, at_ms: int, stage: Stage = Stage.LIMIT) -> None:
        """The job of `key` reaches `stage` at `at_ms`; what was armed for it before is void."""
        self._armed[key] = (at_ms, stage)
        heappush(self._heap, (at_ms, key, stage))

    def disarm(self, key: int) -> None:
        """The job has ended, or waits again."""
        self._armed.pop(key, None)

    @property
    def alarm_ms(self) -> int:
        """When `due` next has something; far away when there is nothing."""
        self._drop_void()
        return self._heap[0][0] if self._heap else NEVER_MS

    def due(self, now_ms: int) -> list[tuple[int, Stage]]:
        """Keys whose time has come, with their stage; each is told once."""
        found: list[tuple[int, Stage]] = []
        while self.alarm_ms <= now_ms:
            _, key, stage = heappop(self._heap)
            del self._armed[key]
            found.append((key, stage))
        return found

    def _drop_void(self) -> None:
        heap = self._heap
        while heap and self._armed.get(heap[0][1]) != (heap[0][0], heap[0][2]):
            heappop(heap)
