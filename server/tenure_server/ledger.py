"""What one client asked and was not answered yet: how many requests, how many bytes, how heavy."""

from __future__ import annotations

from tenure_server.config import Limits

HEAVY = frozenset(
    {"reserve", "peek", "get", "wait", "queue.list", "dlq.list", "dlq.groups", "chore.list"}
)
"""Operations whose replies may be far larger than their requests."""
HEAVY_AT_ONCE = 4
"""So many of them may always be unanswered."""
HEAVY_BYTES_GUESS = 1 << 20
"""How large such a reply is taken to be, before the first was seen."""


class Ledger:
    """The unanswered requests of one connection."""

    __slots__ = ("_heavy", "_heavy_bytes", "bytes", "requests")

    def __init__(self) -> None:
        # Request id -> bytes of the request; negative for a heavy one.
        self.requests: dict[int, int] = {}
        self.bytes = 0
        self._heavy = 0
        self._heavy_bytes = HEAVY_BYTES_GUESS

    def add(self, request_id: int, op: str, size: int) -> None:
        """A request of `size` bytes was asked."""
        if op in HEAVY:
            self.requests[request_id] = -size
            self._heavy += 1
        else:
            self.requests[request_id] = size
        self.bytes += size

    def settle(self, request_id: int, reply_bytes: int) -> int:
        """A request is answered with so many bytes; the bytes it had itself."""
        size = self.requests.pop(request_id, 0)
        if size < 0:
            size = -size
            self._heavy -= 1
            # A larger reply is believed at once, a smaller one by and by.
            self._heavy_bytes = max(reply_bytes, (self._heavy_bytes + reply_bytes) // 2)
        self.bytes -= size
        return size

    def full(self, limits: Limits, waits: int) -> bool:
        """Whether more is unanswered than one client may have; `waits` of the requests wait."""
        if len(self.requests) - waits >= limits.requests_per_connection:
            return True
        if self.bytes >= limits.request_bytes_per_connection:
            return True
        heavy = self._heavy - waits
        return heavy >= HEAVY_AT_ONCE and heavy * self._heavy_bytes >= limits.outbound_bytes_max

    def clear(self) -> int:
        """Forgets everything; how many bytes that was."""
        size = self.bytes
        self.requests.clear()
        self.bytes = self._heavy = 0
        return size
