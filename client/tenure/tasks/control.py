"""What a task raises to say what shall become of its job."""

from __future__ import annotations

from tenure.errors import ArgumentError, ImportFailed, UnknownTask
from tenure_protocol.durations import Duration, duration_ms

__all__ = [
    "ArgumentError",
    "ImportFailed",
    "Permanent",
    "RetryLater",
    "Snooze",
    "SoftTimeout",
    "UnknownTask",
]


class Permanent(Exception):
    """It will never work: the job is dead now, whatever attempts are left."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class RetryLater(Exception):
    """Not now: run the job again after `delay`. No attempt is used up."""

    def __init__(self, delay: Duration, message: str = "") -> None:
        self.delay_ms = duration_ms(delay, "delay")
        self.message = message
        super().__init__(delay, message)

    def __str__(self) -> str:
        return self.message


class Snooze(Exception):
    """There is nothing to do yet: run the job again after `delay`. No attempt is used up."""

    def __init__(self, delay: Duration, message: str = "") -> None:
        self.delay_ms = duration_ms(delay, "delay")
        self.message = message
        super().__init__(delay, message)

    def __str__(self) -> str:
        return self.message


class SoftTimeout(Exception):
    """Raised inside a task when its soft limit is over: clean up, then let it pass on."""
