"""Which leases to extend, and when: decisions only.

A lease is extended when a third of it has passed, and at least every few seconds while its
job is here, for the answer is also how a cancel is heard of.
"""

from __future__ import annotations

from collections.abc import Iterable

from tenure.worker.held import Held

NEVER_MS = 2**62
_JOIN_SHARE = 4
"""What is due within a quarter of the interval is extended along with the rest."""


class Heartbeat:
    """When to extend what."""

    def __init__(self, every_ms: int) -> None:
        self._every_ms = every_ms
        self.alarm_ms = NEVER_MS
        """When `due` next has something."""

    def pause_ms(self, lease_ms: int) -> int:
        """How long after an extension the next one is due."""
        return min(self._every_ms, max(1, lease_ms // 3))

    def took(self, lease_ms: int, now_ms: int) -> int:
        """A lease of that length began: when it is to be extended."""
        at_ms = now_ms + self.pause_ms(lease_ms)
        if at_ms < self.alarm_ms:
            self.alarm_ms = at_ms
        return at_ms

    def due(self, held: Iterable[Held], now_ms: int) -> list[Held]:
        """The leases to extend now. They count as extended; tell `again` those that were not."""
        found: list[Held] = []
        self.alarm_ms = NEVER_MS
        for job in held:
            pause_ms = self.pause_ms(job.lease_ms)
            if job.renew_at_ms <= now_ms + pause_ms // _JOIN_SHARE:
                found.append(job)
                job.renew_at_ms = now_ms + pause_ms
            if job.renew_at_ms < self.alarm_ms:
                self.alarm_ms = job.renew_at_ms
        return found

    def at_once(self, held: Iterable[Held], now_ms: int) -> None:
        """Extend all of them at the next `due`: a new connection, or no answer to the last try."""
        for job in held:
            job.renew_at_ms = now_ms
            self.alarm_ms = now_ms
