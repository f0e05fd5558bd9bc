"""What happened, in order: its digest, its tail, and how often each thing was reached."""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable

TAIL_EVENTS = 400


class ViolationError(Exception):
    """A promise was broken; `name` says which."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}")
        self.name = name
        self.what = what


class History:
    """The events of one seed. `digest` names the whole of them in 16 characters."""

    def __init__(self, now_us: Callable[[], int]) -> None:
        self._now_us = now_us
        self._hash = hashlib.sha256()
        self.tail: deque[str] = deque(maxlen=TAIL_EVENTS)
        self.events = 0
        self.reached: Counter[str] = Counter()
        self.violation: ViolationError | None = None

    def note(self, who: str, what: str, *details: object) -> None:
        """An event. Its details must read the same in every run of the seed."""
        line = f"{self._now_us() / 1e6:.6f} {who} {what} {' '.join(map(_shown, details))}".rstrip()
        self._hash.update(line.encode())
        self.tail.append(line)
        self.events += 1

    def reach(self, what: str, count: int = 1) -> None:
        """A branch worth counting was reached."""
        self.reached[what] += count

    def blame(self, name: str, what: str) -> None:
        """A promise was broken: the first one ends the history."""
        if self.violation is None:
            self.violation = ViolationError(name, what)
            self.note("checker", "VIOLATION", name, what)

    @property
    def digest(self) -> str:
        """The same for the same history."""
        return self._hash.hexdigest()[:16]


def _shown(detail: object) -> str:
    return detail.hex() if isinstance(detail, bytes) else str(detail)
